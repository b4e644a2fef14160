"""`manage.py grant_web_role`; what it grants is tested on PostgreSQL in tests/services/test_web_role.py."""

import pytest
from django.core.management import CommandError, call_command
from django.db import connection


class TestGrantWebRole:
    def test_has_nothing_to_do_on_sqlite(self, db: None) -> None:
        assert connection.vendor == "sqlite"

        with pytest.raises(CommandError, match="this database has none"):
            call_command("grant_web_role", "atelier_web")
