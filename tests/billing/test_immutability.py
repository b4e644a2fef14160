import pytest
from django.db import DatabaseError, connection, transaction

from accounts.models import Workspace
from billing import immutability
from billing.models import Entry, Operation
from tests.billing.steps import give, hold, sell

CHANGES = [
    "UPDATE billing_entry SET amount_credits = amount_credits + 1",
    "UPDATE billing_entry SET account = 'available'",
    "DELETE FROM billing_entry",
    "UPDATE billing_operation SET amount_credits = 0",
    "UPDATE billing_operation SET reference = 'another job'",
    "DELETE FROM billing_operation",
]


@pytest.fixture(autouse=True)
def _some_rows(studio: Workspace) -> None:
    give(studio, 100)
    sell(hold(studio, 10), 10)


def execute(statement: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


class TestProtect:
    @pytest.mark.parametrize("statement", CHANGES)
    def test_refuses_raw_sql(self, statement: str) -> None:
        with pytest.raises(DatabaseError, match=immutability.MESSAGE):
            execute(statement)

    @pytest.mark.parametrize("model", [Operation, Entry])
    def test_refuses_an_update_of_rows(self, model: type[Operation | Entry]) -> None:
        with pytest.raises(DatabaseError, match=immutability.MESSAGE), transaction.atomic():
            model.objects.across_workspaces().update(amount_credits=1)

    @pytest.mark.parametrize("model", [Operation, Entry])
    def test_refuses_to_save_a_changed_row(self, model: type[Operation | Entry]) -> None:
        row = model.objects.across_workspaces().first()
        assert row is not None

        with pytest.raises(DatabaseError, match=immutability.MESSAGE), transaction.atomic():
            row.save()

    def test_refuses_to_delete_entries(self) -> None:
        with pytest.raises(DatabaseError, match=immutability.MESSAGE), transaction.atomic():
            Entry.objects.across_workspaces().delete()

    def test_refuses_to_delete_an_operation_without_entries(self, studio: Workspace) -> None:
        empty = Operation.objects.across_workspaces().get(operation_id=hold(studio, 0))

        with pytest.raises(DatabaseError, match=immutability.MESSAGE), transaction.atomic():
            empty.delete()

    def test_keeps_every_row(self) -> None:
        before = list(Entry.objects.across_workspaces().values())

        for statement in CHANGES:
            with pytest.raises(DatabaseError):
                execute(statement)

        assert list(Entry.objects.across_workspaces().values()) == before


class TestLift:
    @pytest.mark.parametrize("statement", CHANGES[:2] + CHANGES[3:5])
    @pytest.mark.usefixtures("unprotected")
    def test_allows_what_was_refused(self, statement: str) -> None:
        execute(statement)
