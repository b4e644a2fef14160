"""What the web processes may do in the database."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.services.conftest import Fleet

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]

LEDGER_AND_AUDIT = ["billing_operation", "billing_entry", "accounts_auditevent"]
SEALS = ["accounts_auditseal", "accounts_sealedevent"]


@pytest.fixture
def web(fleet: Fleet) -> Iterator[psycopg.Connection]:
    """A connection as the web processes have it."""
    with psycopg.connect(fleet.web_database, autocommit=True) as connection:
        yield connection


class TestWebRole:
    def test_may_do_its_work_and_no_more(self, fleet: Fleet, web: psycopg.Connection) -> None:
        """One fleet for all, because it takes seconds to start."""
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            web.execute("CREATE TABLE mine (id int)")
        for table in LEDGER_AND_AUDIT:
            assert _privileges(web, table) == {"SELECT", "INSERT"}
        for table in SEALS:
            assert _privileges(web, table) == {"SELECT"}
        assert _privileges(web, "accounts_workspace") == {"SELECT", "INSERT", "UPDATE", "DELETE"}
        assert _count(web, "accounts_workspace") == 0
        web.execute("SELECT set_config('atelier.workspace', '*', false)")
        assert _count(web, "accounts_workspace") == 1

    def test_is_refused_by_name_or_power(self, fleet: Fleet) -> None:
        assert "There is no role 'nobody-here'." in fleet.manage("grant_web_role", "nobody-here")
        assert "passes by row-level security" in fleet.manage("grant_web_role", "postgres")


def _privileges(web: psycopg.Connection, table: str) -> set[str]:
    rows = web.execute(
        "SELECT privilege_type FROM information_schema.role_table_grants"
        " WHERE table_name = %s AND grantee = current_user",
        [table],
    )
    return {privilege for (privilege,) in rows}


def _count(web: psycopg.Connection, table: str) -> int:
    row = web.execute(
        psycopg.sql.SQL("SELECT count(*) FROM {}").format(psycopg.sql.Identifier(table))
    ).fetchone()
    assert row is not None
    return int(row[0])
