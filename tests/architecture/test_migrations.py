"""Every change of a table has its migration."""

from io import StringIO

import pytest
from django.core.management import call_command


class TestMigrations:
    def test_are_complete(self, db: None) -> None:
        out = StringIO()

        try:
            call_command("makemigrations", "--check", "--dry-run", stdout=out)
        except SystemExit:
            pytest.fail(out.getvalue())
