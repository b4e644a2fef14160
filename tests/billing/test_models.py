import pytest
from django.db import IntegrityError, connection, transaction

from accounts.models import Side, Workspace
from accounts.tenancy import UnscopedQuery
from billing import pricing
from billing.models import (
    Account,
    Balance,
    Entry,
    Operation,
    OperationKind,
    Price,
    PriceUnit,
)
from billing.pricing import NewPrice
from tests.billing.steps import capture, give, hold, operation


def execute(statement: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def post(workspace: Workspace, kind: str, amount: int = 1, resolves: Operation | None = None) -> Operation:
    return Operation.objects.create(
        operation_id=f"a {kind}",
        kind=kind,
        workspace=workspace,
        side=Side.LIVE,
        amount_credits=amount,
        reference="a job",
        resolves=resolves,
    )


def enter(workspace: Workspace, account: str, amount: int) -> Entry:
    return Entry.objects.create(
        operation=operation(hold(workspace, 0)),
        workspace=workspace,
        side=Side.LIVE,
        account=account,
        amount_credits=amount,
    )


class TestBalance:
    @pytest.mark.parametrize(
        "column", ["available_credits", "held_credits", "debt_credits", "escrow_credits", "open_holds"]
    )
    def test_refuses_a_negative_number(self, studio: Workspace, column: str) -> None:
        give(studio, 100)

        with pytest.raises(IntegrityError):
            execute(f"UPDATE billing_balance SET {column} = -1")

    def test_is_one_per_side(self, studio: Workspace) -> None:
        give(studio, 100)

        with pytest.raises(IntegrityError):
            Balance.objects.create(workspace=studio, side=Side.LIVE)


class TestGrant:
    @pytest.mark.parametrize(
        "column", ["remaining_credits", "held_credits", "captured_credits", "paid_minor_units"]
    )
    def test_refuses_a_negative_number(self, studio: Workspace, column: str) -> None:
        give(studio, 100)

        with pytest.raises(IntegrityError):
            execute(f"UPDATE billing_grant SET {column} = -1")

    @pytest.mark.parametrize("column", ["remaining_credits", "held_credits", "captured_credits"])
    def test_never_gives_more_than_its_amount(self, studio: Workspace, column: str) -> None:
        give(studio, 100)
        capture(hold(studio, 10), 5)

        with pytest.raises(IntegrityError):
            execute(f"UPDATE billing_grant SET {column} = {column} + 1")

    def test_refuses_an_amount_of_zero(self, studio: Workspace) -> None:
        with pytest.raises(IntegrityError):
            give(studio, 0)


class TestOperation:
    def test_refuses_an_unknown_kind(self, studio: Workspace) -> None:
        with pytest.raises(IntegrityError):
            post(studio, "gift")

    def test_refuses_a_negative_amount(self, studio: Workspace) -> None:
        with pytest.raises(IntegrityError):
            post(studio, OperationKind.ADJUSTMENT, amount=-1)

    def test_settles_nothing_without_a_hold(self, studio: Workspace) -> None:
        with pytest.raises(IntegrityError):
            post(studio, OperationKind.SETTLE)

    @pytest.mark.parametrize("kind", [kind for kind in OperationKind if kind != OperationKind.SETTLE])
    def test_of_another_kind_resolves_nothing(self, studio: Workspace, kind: OperationKind) -> None:
        give(studio, 100)

        with pytest.raises(IntegrityError):
            post(studio, kind, resolves=operation(hold(studio, 10)))

    def test_resolves_a_hold_only_once(self, studio: Workspace) -> None:
        give(studio, 100)
        hold_id = hold(studio, 10)
        capture(hold_id, 10)

        with pytest.raises(IntegrityError):
            post(studio, OperationKind.SETTLE, resolves=operation(hold_id))

    def test_refuses_a_query_of_its_entries_without_a_workspace(self, studio: Workspace) -> None:
        give(studio, 100)

        with pytest.raises(UnscopedQuery):
            operation(hold(studio, 10)).entries.all()


class TestEntry:
    @pytest.fixture(autouse=True)
    def _credits(self, studio: Workspace) -> None:
        give(studio, 100)

    def test_refuses_zero(self, studio: Workspace) -> None:
        with pytest.raises(IntegrityError):
            enter(studio, Account.AVAILABLE, 0)

    def test_refuses_an_unknown_account(self, studio: Workspace) -> None:
        with pytest.raises(IntegrityError):
            enter(studio, "mattress", 1)


@pytest.mark.django_db
class TestPrice:
    def test_is_one_per_edition_and_operation(self) -> None:
        book = pricing.publish([NewPrice("a model", "text-to-image", PriceUnit.PER_IMAGE, 1)])

        with pytest.raises(IntegrityError):
            Price.objects.create(
                book=book,
                sku="a model",
                operation="text-to-image",
                unit=PriceUnit.PER_STEP,
                unit_price_millicredits=1,
            )

    def test_refuses_an_unknown_unit(self) -> None:
        with pytest.raises(IntegrityError):
            pricing.publish([NewPrice("a model", "text-to-image", "per_kilo", 1)])  # type: ignore[arg-type]
