import pytest
from django.db import connection

from accounts import workspaces
from accounts.models import User, Workspace
from billing import immutability


class Statements:
    """As much of a schema editor as lifting a trigger needs, inside the test's transaction."""

    connection = connection

    def execute(self, statement: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)


@pytest.fixture
def studio(alice: User) -> Workspace:
    """A workspace that was never given a credit."""
    return workspaces.create("A new studio", alice)


@pytest.fixture
def unprotected(db: None) -> None:
    """The ledger without its triggers; they come back when the test's transaction is rolled back."""
    connection.check_constraints()  # PostgreSQL lifts no trigger of a table with checks to come
    immutability.lift(Statements())  # type: ignore[arg-type]
