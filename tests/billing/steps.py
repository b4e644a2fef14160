"""The ledger's calls in short form, at a fixed time and with ids that count up."""

import itertools
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from accounts import ids
from accounts.models import Side, Workspace
from billing import ledger, usage
from billing.ledger import Settlement
from billing.models import (
    Account,
    Balance,
    Entry,
    Grant,
    Operation,
    OperationKind,
    PriceUnit,
    Source,
    UsageRecord,
)
from billing.pricing import Quote
from billing.usage import Consumer, Quantities

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TOMORROW, IN_TWO_DAYS = NOW + timedelta(days=1), NOW + timedelta(days=2)
QUOTE = Quote("a model", "text-to-image", 1, PriceUnit.PER_IMAGE, 10, 1)
QUANTITIES = Quantities(images=1, pixels=4_096, evaluations=4, gpu_ms=120)

_numbers = itertools.count(1)


def give(workspace: Workspace, credits: int, source: Source = Source.PROMOTIONAL, **fields: Any) -> Grant:
    ledger.grant(workspace.pk, credits, source, f"grant:{next(_numbers)}", **fields)
    return Grant.objects.for_workspace(workspace).latest("pk")


def hold(workspace: Workspace, credits: int, now: datetime = NOW, **fields: Any) -> str:
    """Gives the operation id, by which the hold is ended."""
    number = next(_numbers)
    ledger.hold(workspace.pk, credits, f"hold:{number}", f"job {number}", now, **fields)
    return f"hold:{number}"


def capture(hold_id: str, credits: int, now: datetime = NOW) -> Settlement:
    return ledger.capture(hold_id, credits, f"settle:{hold_id}", now)


def release(hold_id: str, now: datetime = NOW) -> Settlement:
    return ledger.release(hold_id, f"settle:{hold_id}", now)


def sell(hold_id: str, credits: int, now: datetime = NOW) -> Settlement:
    """Capture with the usage row that belongs to it."""
    held = operation(hold_id)
    settled = capture(hold_id, credits, now)
    if credits:
        record_usage(held, settled, now)
    return settled


def record_usage(held: Operation, settled: Settlement, now: datetime = NOW) -> None:
    consumer = Consumer(held.workspace_id, Side(held.side), None, None, "")
    usage.record(held.reference, consumer, QUOTE, QUANTITIES, settled, accepted_at=NOW, created_at=now)


def use(workspace: Workspace, now: datetime = NOW, *, credits: int = 10, **fields: Any) -> UsageRecord:
    """A usage row alone, as plain as possible."""
    defaults: dict[str, Any] = {
        "reference": f"job {ids.new_id()}",
        "side": Side.LIVE,
        "sku": "boats@1",
        "operation": "text-to-image",
        "price_book_version": 1,
        "images": 1,
        "pixels": 4_096,
        "evaluations": 4,
        "gpu_ms": 120,
        "credits": credits,
        "revenue_micros": 0,
        "accepted_at": now,
        "created_at": now,
    }
    return UsageRecord.objects.create(workspace=workspace, **{**defaults, **fields})


def owe(workspace: Workspace, credits: int) -> None:
    """Put the workspace into debt by an adjustment."""
    one = Operation.objects.create(
        operation_id=f"adjustment:{next(_numbers)}",
        kind=OperationKind.ADJUSTMENT,
        workspace=workspace,
        side=Side.LIVE,
        amount_credits=credits,
        reference="a lost dispute",
    )
    for account, amount in ((Account.DEBT, -credits), (Account.RECEIVABLE, credits)):
        Entry.objects.create(
            operation=one, workspace=workspace, side=Side.LIVE, account=account, amount_credits=amount
        )
    Balance.objects.across_workspaces().update_or_create(
        workspace=workspace, side=Side.LIVE, defaults={"debt_credits": credits}
    )


def operation(operation_id: str) -> Operation:
    return Operation.objects.across_workspaces().get(operation_id=operation_id)


def posted(operation_id: str, account: Account) -> list[tuple[uuid.UUID | None, int]]:
    """Grant and credits of each entry an operation made in an account, in the order they were written."""
    entries = Entry.objects.across_workspaces().filter(operation__operation_id=operation_id, account=account)
    return list(entries.order_by("id").values_list("grant_id", "amount_credits"))


def total(account: Account) -> int:
    entries = Entry.objects.across_workspaces().filter(account=account)
    return sum(entries.values_list("amount_credits", flat=True))
