from typing import Any

import pytest
from django.db.models import F, QuerySet

from accounts.models import Side, Workspace
from billing import ledger
from billing.ledger_checks import Discrepancy, Kind
from billing.models import Account, Balance, Entry, Grant, Operation, OperationKind, Source, UsageRecord
from tests.billing.steps import TOMORROW, capture, give, hold, operation, owe, record_usage, sell

pytestmark = pytest.mark.usefixtures("unprotected")


@pytest.fixture(autouse=True)
def books(studio: Workspace, unprotected: None) -> Workspace:
    """A workspace to which everything has happened: paid debt, both sides, ended and open holds, expiry."""
    owe(studio, 5)
    give(studio, 100)
    give(studio, 30, expires_at=TOMORROW)
    give(studio, 100, Source.PACK, paid_minor_units=999)
    give(studio, 100, Source.PLAY, side=Side.TEST)
    sell(hold(studio, 20), 20)
    sell(hold(studio, 140), 130)
    sell(hold(studio, 10), 0)
    hold(studio, 15)
    sell(hold(studio, 10, side=Side.TEST), 4)
    give(studio, 25, expires_at=TOMORROW)
    sell(hold(studio, 15), 5, TOMORROW)
    ledger.expire_due(TOMORROW)
    return studio


def kinds() -> set[str]:
    return {found.kind for found in ledger.verify()}


def one_entry(kind: OperationKind, account: Account) -> QuerySet[Entry]:
    entries = Entry.objects.across_workspaces().filter(operation__kind=kind, account=account)
    return Entry.objects.across_workspaces().filter(pk=entries.latest("pk").pk)


def one_sale() -> QuerySet[Operation]:
    sales = Operation.objects.across_workspaces().filter(kind=OperationKind.SETTLE, revenue_micros__gt=0)
    return Operation.objects.across_workspaces().filter(pk=sales.latest("pk").pk)


def live(books: Workspace) -> QuerySet[Balance]:
    return Balance.objects.for_workspace(books).filter(side=Side.LIVE)


def usage_row() -> QuerySet[UsageRecord]:
    rows = UsageRecord.objects.across_workspaces().filter(revenue_micros__gt=0)
    return UsageRecord.objects.across_workspaces().filter(pk=rows.latest("pk").pk)


class TestCleanLedger:
    def test_has_no_discrepancy(self) -> None:
        assert ledger.verify() == []

    def test_stays_clean_beside_another_workspace(self, workspace: Workspace) -> None:
        sell(hold(workspace, 100), 40)

        assert ledger.verify() == []

    def test_may_be_empty(self, books: Workspace) -> None:
        UsageRecord.objects.across_workspaces().delete()
        Entry.objects.across_workspaces().delete()
        for model in (Operation, Grant, Balance):
            model.objects.across_workspaces()._raw_delete(using="default")

        assert ledger.verify() == []


class TestEntries:
    @pytest.mark.parametrize(
        "kind, account",
        [
            (OperationKind.GRANT, Account.ISSUED),
            (OperationKind.GRANT, Account.AVAILABLE),
            (OperationKind.HOLD, Account.HELD),
            (OperationKind.HOLD, Account.AVAILABLE),
            (OperationKind.SETTLE, Account.HELD),
            (OperationKind.SETTLE, Account.REVENUE),
            (OperationKind.SETTLE, Account.AVAILABLE),
            (OperationKind.EXPIRE, Account.BREAKAGE),
            (OperationKind.ADJUSTMENT, Account.DEBT),
            (OperationKind.ADJUSTMENT, Account.RECEIVABLE),
        ],
    )
    @pytest.mark.parametrize("change", [+1, -1])
    def test_with_a_changed_amount_are_found(
        self, kind: OperationKind, account: Account, change: int
    ) -> None:
        planted = one_entry(kind, account)
        planted.update(amount_credits=F("amount_credits") + change)

        subject = planted.select_related("operation").get().operation.operation_id
        assert (Kind.UNBALANCED, subject) in {(found.kind, found.subject) for found in ledger.verify()}

    def test_with_a_changed_amount_show_in_balance_and_grant(self) -> None:
        one_entry(OperationKind.HOLD, Account.HELD).update(amount_credits=99)

        assert kinds() == {Kind.UNBALANCED, Kind.WRONG_AMOUNT, Kind.WRONG_BALANCE, Kind.WRONG_GRANT}

    @pytest.mark.parametrize("kind", OperationKind)
    def test_that_were_deleted_are_found(self, kind: OperationKind) -> None:
        entries = Entry.objects.across_workspaces().filter(operation__kind=kind)
        Entry.objects.across_workspaces().filter(pk=entries.latest("pk").pk).delete()

        assert Kind.UNBALANCED in kinds()

    @pytest.mark.parametrize("kind", OperationKind)
    def test_that_were_deleted_in_balanced_pairs_are_found(self, kind: OperationKind) -> None:
        emptied = Operation.objects.across_workspaces().filter(kind=kind).latest("pk")
        Entry.objects.across_workspaces().filter(operation=emptied).delete()

        assert kinds() & {Kind.WRONG_AMOUNT, Kind.WRONG_BALANCE}

    def test_that_were_added_are_found(self, books: Workspace) -> None:
        sale = one_sale().get()

        Entry.objects.create(
            operation=sale, workspace=books, side=Side.LIVE, account=Account.AVAILABLE, amount_credits=5
        )

        assert {Kind.UNBALANCED, Kind.WRONG_BALANCE} <= kinds()

    def test_that_moved_to_another_workspace_are_found(self, workspace: Workspace) -> None:
        one_entry(OperationKind.HOLD, Account.HELD).update(workspace=workspace)

        assert {Kind.FOREIGN_ENTRY, Kind.WRONG_BALANCE} <= kinds()

    def test_that_moved_to_another_side_are_found(self) -> None:
        one_entry(OperationKind.GRANT, Account.AVAILABLE).update(side=Side.TEST)

        assert {Kind.FOREIGN_ENTRY, Kind.WRONG_BALANCE} <= kinds()

    @pytest.mark.parametrize("account", [Account.REVENUE, Account.BREAKAGE])
    def test_that_moved_to_another_account_are_found(self, account: Account) -> None:
        one_entry(OperationKind.SETTLE, Account.AVAILABLE).update(account=account)

        assert {Kind.WRONG_BALANCE, Kind.WRONG_GRANT} <= kinds()

    def test_that_moved_to_another_grant_are_found(self, books: Workspace) -> None:
        other = Grant.objects.for_workspace(books).earliest("pk")

        one_entry(OperationKind.HOLD, Account.HELD).update(grant=other)

        assert kinds() == {Kind.WRONG_GRANT}

    def test_that_take_out_more_than_there_is_are_found(self, books: Workspace) -> None:
        Entry.objects.for_workspace(books).filter(
            operation__kind=OperationKind.GRANT, account=Account.AVAILABLE
        ).update(amount_credits=1)

        assert Kind.NEGATIVE in kinds()


class TestBalances:
    @pytest.mark.parametrize(
        "column", ["available_credits", "held_credits", "debt_credits", "escrow_credits"]
    )
    def test_that_were_changed_are_found(self, books: Workspace, column: str) -> None:
        live(books).update(**{column: F(column) + 1})

        (found,) = ledger.verify()
        assert (found.kind, found.subject) == (Kind.WRONG_BALANCE, f"workspace {books.pk} live")

    @pytest.mark.parametrize("change", [+1, -1])
    def test_with_a_wrong_number_of_open_holds_are_found(self, books: Workspace, change: int) -> None:
        live(books).update(open_holds=F("open_holds") + change)

        assert kinds() == {Kind.WRONG_OPEN_HOLDS}

    def test_that_were_deleted_are_found(self, books: Workspace) -> None:
        live(books).delete()

        assert Kind.WRONG_BALANCE in kinds()

    def test_that_were_swapped_are_found(self, books: Workspace, workspace: Workspace) -> None:
        live(books).update(available_credits=F("available_credits") - 1)
        live(workspace).update(available_credits=F("available_credits") + 1)

        assert len(ledger.verify()) == 2


class TestGrants:
    @pytest.mark.parametrize(
        "change", [{"remaining_credits": 0}, {"held_credits": 0}, {"captured_credits": 0}]
    )
    def test_that_were_changed_are_found(self, books: Workspace, change: dict[str, int]) -> None:
        pack = Grant.objects.for_workspace(books).filter(source=Source.PACK)

        pack.update(**change)

        assert [(found.kind, found.subject) for found in ledger.verify()] == [
            (Kind.WRONG_GRANT, f"grant {pack.get().pk}")
        ]

    def test_with_a_changed_amount_are_found(self, books: Workspace) -> None:
        Grant.objects.for_workspace(books).filter(source=Source.PACK).update(amount_credits=101)

        assert kinds() == {Kind.WRONG_GRANT}


class TestOperations:
    @pytest.mark.parametrize("kind", [kind for kind in OperationKind if kind != OperationKind.ADJUSTMENT])
    def test_with_a_changed_amount_are_found(self, kind: OperationKind) -> None:
        planted = Operation.objects.across_workspaces().filter(kind=kind).latest("pk")

        Operation.objects.across_workspaces().filter(pk=planted.pk).update(amount_credits=98)

        assert (Kind.WRONG_AMOUNT, planted.operation_id) in {
            (found.kind, found.subject) for found in ledger.verify()
        }

    def test_that_capture_more_than_was_held_are_found(self) -> None:
        held = one_sale().select_related("resolves").get().resolves
        assert held is not None

        one_sale().update(amount_credits=held.amount_credits + 1)

        assert Kind.OVERCAPTURED in kinds()

    def test_that_earn_another_revenue_are_found(self) -> None:
        one_sale().update(revenue_micros=F("revenue_micros") + 1)

        assert kinds() == {Kind.USAGE_DIFFERS}

    def test_that_moved_to_another_workspace_are_found(self, workspace: Workspace) -> None:
        one_sale().update(workspace=workspace)

        assert Kind.FOREIGN_ENTRY in kinds()

    def test_that_were_deleted_with_their_entries_are_found(self) -> None:
        ended = one_sale().get()
        Entry.objects.across_workspaces().filter(operation=ended).delete()

        one_sale()._raw_delete(using="default")

        assert {Kind.WRONG_BALANCE, Kind.WRONG_GRANT, Kind.WRONG_OPEN_HOLDS} <= kinds()


class TestUsage:
    def test_of_images_that_cost_nothing_is_right(self, books: Workspace) -> None:
        hold_id = hold(books, 10)

        record_usage(operation(hold_id), capture(hold_id, 0))

        assert ledger.verify() == []

    @pytest.mark.parametrize("column", ["credits", "revenue_micros"])
    @pytest.mark.parametrize("change", [+1, -1])
    def test_that_was_changed_is_found(self, column: str, change: int) -> None:
        usage_row().update(**{column: F(column) + change})

        assert kinds() == {Kind.USAGE_DIFFERS}

    def test_that_was_deleted_is_found(self) -> None:
        reference = usage_row().get().reference

        usage_row().delete()

        assert [(found.kind, found.subject) for found in ledger.verify()] == [(Kind.USAGE_MISSING, reference)]

    def test_that_was_never_captured_is_found(self) -> None:
        usage_row().update(reference="a job that never was")

        assert kinds() == {Kind.USAGE_DIFFERS, Kind.USAGE_MISSING}

    def test_that_moved_to_another_workspace_is_found(self, workspace: Workspace) -> None:
        usage_row().update(workspace=workspace)

        assert kinds() == {Kind.USAGE_DIFFERS}

    def test_that_moved_to_another_side_is_found(self) -> None:
        usage_row().update(side=Side.TEST)

        assert kinds() == {Kind.USAGE_DIFFERS}


class TestVerify:
    def test_changes_nothing(self, books: Workspace) -> None:
        live(books).update(available_credits=0)

        assert ledger.verify() == ledger.verify()

    def test_only_reads(self, books: Workspace, django_assert_max_num_queries: Any) -> None:
        with django_assert_max_num_queries(20) as queries:
            ledger.verify()

        assert all(query["sql"].startswith(("SELECT", "DECLARE")) for query in queries.captured_queries)

    def test_finds_several_errors_at_once(self, books: Workspace) -> None:
        live(books).update(open_holds=9)
        usage_row().delete()

        assert kinds() == {Kind.WRONG_OPEN_HOLDS, Kind.USAGE_MISSING}


class TestDiscrepancy:
    def test_reads_as_a_line(self) -> None:
        found = Discrepancy(Kind.WRONG_OPEN_HOLDS, "workspace 7 live", "cached 2, open 1")

        assert str(found) == "cached number of open holds is wrong: workspace 7 live (cached 2, open 1)"
