"""Looks for anything in the ledger that cannot be: recomputes every cached number from the entries.

Reports, never mends. `manage.py verify_ledger` prints what it finds together with inference's reconciliation.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from django.db import connection, transaction
from django.db.models import F, Q, Sum
from django.db.models.functions import Coalesce

from accounts import row_security
from billing.models import (
    WORKSPACE_ACCOUNTS,
    Account,
    Balance,
    Entry,
    Grant,
    Operation,
    OperationKind,
    UsageRecord,
)


class Kind(StrEnum):
    UNBALANCED = "operation does not sum to zero"
    WRONG_AMOUNT = "operation's amount differs from its entries"
    WRONG_BALANCE = "cached balance differs from entries"
    WRONG_GRANT = "cached grant differs from entries"
    WRONG_OPEN_HOLDS = "cached number of open holds is wrong"
    OVERCAPTURED = "more captured than held"
    FOREIGN_ENTRY = "entry belongs to another workspace or side than its operation"
    NEGATIVE = "an account that may not be negative is"
    USAGE_DIFFERS = "usage row differs from the captured credits"
    USAGE_MISSING = "captured credits without a usage row"


@dataclass(frozen=True)
class Discrepancy:
    """One thing that is wrong: its kind, the row it was seen at, and the numbers."""

    kind: str
    subject: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.subject} ({self.detail})"


@contextlib.contextmanager
def snapshot() -> Iterator[None]:
    """One moment of the database for all checks inside, so that work going on meanwhile looks like no error."""
    if connection.in_atomic_block:  # the caller has chosen the moment
        yield
        return
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield


def verify() -> list[Discrepancy]:
    """All discrepancies of the ledger, none when it is clean. Read-only."""
    row_security.require_no_wall()  # else an empty book would be found clean
    checks = (_unbalanced, _amounts, _balances, _open_holds, _grants, _captures, _foreign, _usage)
    return [found for check in checks for found in check()]


def _unbalanced() -> Iterator[Discrepancy]:
    sums = (
        Entry.objects.across_workspaces()
        .values("operation__operation_id")
        .annotate(total=Sum("amount_credits"))
    )
    for row in sums.exclude(total=0):
        yield Discrepancy(Kind.UNBALANCED, row["operation__operation_id"], f"sum {row['total']}")


def _amounts() -> Iterator[Discrepancy]:
    """What the operation says of itself against the account that tells its amount."""
    telling = {
        OperationKind.GRANT: (Account.ISSUED, -1),
        OperationKind.HOLD: (Account.HELD, 1),
        OperationKind.SETTLE: (Account.REVENUE, 1),
        OperationKind.EXPIRE: (Account.BREAKAGE, 1),
    }
    for kind, (account, sign) in telling.items():
        posted = Coalesce(Sum("entries__amount_credits", filter=Q(entries__account=account)), 0)
        rows = Operation.objects.across_workspaces().filter(kind=kind).annotate(posted=posted)
        for row in rows.exclude(posted=F("amount_credits") * sign):
            yield Discrepancy(
                Kind.WRONG_AMOUNT, row.operation_id, f"says {row.amount_credits}, entries {row.posted * sign}"
            )


def _balances() -> Iterator[Discrepancy]:
    sums: dict[tuple[object, str], dict[str, int]] = {}
    grouped = Entry.objects.across_workspaces().filter(account__in=WORKSPACE_ACCOUNTS)
    for row in grouped.values("workspace_id", "side", "account").annotate(total=Sum("amount_credits")):
        sums.setdefault((row["workspace_id"], row["side"]), {})[row["account"]] = row["total"]
    for cached in Balance.objects.across_workspaces():
        actual = sums.pop((cached.workspace_id, cached.side), {})
        expected = {
            Account.AVAILABLE: cached.available_credits,
            Account.HELD: cached.held_credits,
            Account.DEBT: -cached.debt_credits,
            Account.ESCROW: cached.escrow_credits,
        }
        for account, number in expected.items():
            if actual.get(account, 0) != number:
                detail = f"{account} cached {number}, entries {actual.get(account, 0)}"
                yield Discrepancy(Kind.WRONG_BALANCE, _owner(cached), detail)
            if actual.get(account, 0) < 0 and account != Account.DEBT:
                yield Discrepancy(Kind.NEGATIVE, _owner(cached), f"{account} {actual[account]}")
    for (workspace_id, side), actual in sums.items():
        yield Discrepancy(
            Kind.WRONG_BALANCE, f"workspace {workspace_id} {side}", f"no balance row for {actual}"
        )


def _owner(row: Balance) -> str:
    return f"workspace {row.workspace_id} {row.side}"


def _open_holds() -> Iterator[Discrepancy]:
    holds = Operation.objects.across_workspaces().filter(kind=OperationKind.HOLD, resolution__isnull=True)
    counted: dict[tuple[object, str], int] = {}
    for workspace_id, side in holds.values_list("workspace_id", "side"):
        counted[workspace_id, side] = counted.get((workspace_id, side), 0) + 1
    for cached in Balance.objects.across_workspaces():
        actual = counted.get((cached.workspace_id, cached.side), 0)
        if cached.open_holds != actual:
            yield Discrepancy(
                Kind.WRONG_OPEN_HOLDS, _owner(cached), f"cached {cached.open_holds}, open {actual}"
            )


def _grants() -> Iterator[Discrepancy]:
    def posted(account: Account) -> Coalesce:
        return Coalesce(Sum("entries__amount_credits", filter=Q(entries__account=account)), 0)

    # Debt that a grant paid off counts as captured: it was spent before it was granted.
    rows = Grant.objects.across_workspaces().annotate(
        posted_remaining=posted(Account.AVAILABLE),
        posted_held=posted(Account.HELD),
        posted_captured=posted(Account.REVENUE) + posted(Account.DEBT),
        posted_amount=-posted(Account.ISSUED),
    )
    wrong = rows.exclude(
        posted_remaining=F("remaining_credits"),
        posted_held=F("held_credits"),
        posted_captured=F("captured_credits"),
        posted_amount=F("amount_credits"),
    )
    for row in wrong:
        detail = (
            f"remaining {row.remaining_credits}/{row.posted_remaining}, held {row.held_credits}/{row.posted_held}, "
            f"captured {row.captured_credits}/{row.posted_captured}, amount {row.amount_credits}/{row.posted_amount}"
        )
        yield Discrepancy(Kind.WRONG_GRANT, f"grant {row.pk}", f"cached/entries: {detail}")


def _captures() -> Iterator[Discrepancy]:
    settled = Operation.objects.across_workspaces().filter(kind=OperationKind.SETTLE)
    for row in settled.filter(amount_credits__gt=F("resolves__amount_credits")).select_related("resolves"):
        detail = f"captured {row.amount_credits} of {row.resolves.amount_credits}" if row.resolves else ""
        yield Discrepancy(Kind.OVERCAPTURED, row.operation_id, detail)


def _foreign() -> Iterator[Discrepancy]:
    entries = Entry.objects.across_workspaces().select_related("operation")
    strange = entries.exclude(workspace_id=F("operation__workspace_id"), side=F("operation__side"))
    for row in strange:
        yield Discrepancy(Kind.FOREIGN_ENTRY, row.operation.operation_id, f"entry {row.pk}")


def _usage() -> Iterator[Discrepancy]:
    settled = Operation.objects.across_workspaces().filter(kind=OperationKind.SETTLE)
    captured = {row.reference: row for row in settled}
    for usage in UsageRecord.objects.across_workspaces().iterator():
        operation = captured.pop(usage.reference, None)
        if operation is None or _facts(operation) != _told(usage):
            detail = f"usage {_told(usage)}, ledger {_facts(operation) if operation else 'nothing'}"
            yield Discrepancy(Kind.USAGE_DIFFERS, usage.reference, detail)
    unused = {reference: operation for reference, operation in captured.items() if operation.amount_credits}
    for reference, operation in unused.items():
        yield Discrepancy(Kind.USAGE_MISSING, reference, f"captured {operation.amount_credits}")


def _facts(row: Operation) -> tuple[str, str, int, int]:
    """Workspace, side, credits, revenue in micro minor units."""
    return str(row.workspace_id), row.side, row.amount_credits, row.revenue_micros


def _told(row: UsageRecord) -> tuple[str, str, int, int]:
    return str(row.workspace_id), row.side, row.credits, row.revenue_micros
