import pytest
from django.db import connection

from accounts import audit, immutability
from tests.billing.conftest import Statements


@pytest.fixture
def audit_unprotected(db: None) -> None:
    """The audit tables without their triggers, which come back when the test's transaction is rolled back."""
    connection.check_constraints()  # PostgreSQL lifts no trigger of a table with checks to come
    immutability.lift(Statements(), audit.TABLES)  # type: ignore[arg-type]
