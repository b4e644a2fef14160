"""The double-entry ledger of credits: grant, hold, capture, release, expire, balance.

Every operation posts entries that sum to zero and names itself with an `operation_id`. The same id with the same
fields gives the same answer for ever; with other fields it raises OperationConflict. Each function runs in one
transaction (the caller's, if there is one) and locks the balance row first, so operations of one side of a
workspace happen one after another.

Signs: a positive entry puts credits into an account. A grant moves from issued to available, a hold from
available to held, a capture from held to revenue, a release back to available (or to breakage when the grant
has expired meanwhile).
"""

import contextlib
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.db import connection
from django.db.models import Exists, F, QuerySet

from accounts import audit, ids, tenancy
from accounts.audit import Origin
from accounts.inserts import insert, together
from accounts.models import Side
from billing.ledger_checks import verify as verify  # part of this module's public face
from billing.models import BOUGHT, Account, Balance, Entry, Grant, Operation, OperationKind, Source

MICROS_PER_MINOR_UNIT = 1_000_000


class InsufficientCredit(Exception):
    """The workspace has fewer available credits than the operation needs."""

    def __init__(self, required: int, available: int) -> None:
        self.required, self.available = required, available
        super().__init__(f"{required} credits are needed and {available} are available.")


class ConcurrencyLimitReached(Exception):
    """The workspace has as many unfinished jobs as it may have."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"{limit} jobs are unfinished, which is the limit.")


class Held(NamedTuple):
    """A hold, and the version of the workspace's limits when it was made; the balance is locked since."""

    operation: Operation
    limits_version: int


class OperationConflict(Exception):
    """An operation id was used again for something else: a fault in the caller."""


@dataclass(frozen=True)
class BalanceView:
    """What a workspace has. `available` can be spent; `held` is reserved for unfinished jobs."""

    available_credits: int
    held_credits: int
    debt_credits: int
    open_holds: int


@dataclass(frozen=True)
class Settlement:
    """How a hold ended."""

    captured_credits: int
    released_credits: int
    revenue_micros: int


def balance(workspace_id: uuid.UUID, side: Side = Side.LIVE) -> BalanceView:
    row = _balance_of(workspace_id, side).first() or Balance()
    return BalanceView(row.available_credits, row.held_credits, row.debt_credits, row.open_holds)


def grant(
    workspace_id: uuid.UUID,
    amount_credits: int,
    source: Source,
    operation_id: str,
    *,
    side: Side = Side.LIVE,
    priority: int = 0,
    expires_at: datetime | None = None,
    paid_minor_units: int = 0,
    origin: Origin = audit.SYSTEM,
) -> Operation:
    """Give credits; what the workspace owes is paid from them first."""
    with _joined(workspace_id):
        row, _ = _lock(workspace_id, side)
        # Asked after the lock was granted, so that a twin which committed meanwhile is seen.
        if Operation.objects.across_workspaces().filter(operation_id=operation_id).exists():
            terms = (priority, expires_at, paid_minor_units)
            return _granted_again(operation_id, row, amount_credits, source, terms)
        paid_debt = min(row.debt_credits, amount_credits)
        new = Grant.objects.create(
            workspace_id=workspace_id,
            side=side,
            source=source,
            priority=priority,
            expires_at=expires_at,
            amount_credits=amount_credits,
            remaining_credits=amount_credits - paid_debt,
            captured_credits=paid_debt,
            paid_minor_units=paid_minor_units,
        )
        operation = _operation(
            workspace_id, side, operation_id, OperationKind.GRANT, amount_credits, str(source)
        )
        _post(
            operation,
            (Account.ISSUED, new.pk, -amount_credits),
            (Account.DEBT, new.pk, paid_debt),
            (Account.AVAILABLE, new.pk, amount_credits - paid_debt),
            source=source,
        )
        row.debt_credits -= paid_debt
        row.available_credits += amount_credits - paid_debt
        row.save()
        audit.record(
            audit.Event.CREDIT_GRANTED,
            workspace_id,
            operation_id,
            origin,
            credits=amount_credits,
            source=source,
            side=side,
        )
    return operation


def hold(
    workspace_id: uuid.UUID,
    amount_credits: int,
    operation_id: str,
    reference: str,
    now: datetime,
    *,
    side: Side = Side.LIVE,
    max_open_holds: int | None = None,
) -> Held:
    """Reserve credits for a job, burning grants in order; raises InsufficientCredit or ConcurrencyLimitReached.

    A hold never ends by itself: `capture` or `release` must follow when the job ends.
    """
    with _joined(workspace_id):
        version = _reserve(workspace_id, side, amount_credits, operation_id, max_open_holds)
        if version is None:
            return _not_reserved(
                workspace_id, amount_credits, operation_id, reference, now, side, max_open_holds
            )
        spendable, expired = _by_expiry(list(_with_credits_left(workspace_id, side)), now)
        if (available := sum(one.remaining_credits for one in spendable)) < amount_credits:
            _move(workspace_id, side, available=amount_credits, held=-amount_credits, open_holds=-1)
            raise InsufficientCredit(amount_credits, available)
        for one in expired:
            _expire(one)
        with together():
            operation = _operation(
                workspace_id, side, operation_id, OperationKind.HOLD, amount_credits, reference, now
            )
            _take(operation, spendable, amount_credits)
    return Held(operation, version)


# One statement locks, asks, takes and tells, so the hot row is held for as few round trips as can be. In SQL of our own
# because Django has no UPDATE that returns a column.
RESERVE = """
    UPDATE billing_balance
    SET available_credits = available_credits - %s, held_credits = held_credits + %s, open_holds = open_holds + 1
    WHERE workspace_id = %s AND side = %s AND available_credits >= %s AND open_holds < %s
      AND NOT EXISTS (SELECT 1 FROM billing_operation WHERE operation_id = %s)
    RETURNING limits_version"""
NO_LIMIT = 2**31 - 1


def _reserve(
    workspace_id: uuid.UUID, side: Side, amount: int, operation_id: str, max_open_holds: int | None
) -> int | None:
    """Take from the balance if it has enough and the operation is new; the row is locked from here on.

    Returns the version of the workspace's limits, None when nothing was taken.
    """
    workspace = Balance._meta.get_field("workspace").get_db_prep_save(workspace_id, connection)
    most = NO_LIMIT if max_open_holds is None else max_open_holds
    with connection.cursor() as cursor:
        cursor.execute(RESERVE, [amount, amount, workspace, str(side), amount, most, operation_id])
        row = cursor.fetchone()
    return row[0] if row else None


def _not_reserved(
    workspace_id: uuid.UUID,
    amount: int,
    operation_id: str,
    reference: str,
    now: datetime,
    side: Side,
    max_open_holds: int | None,
) -> Held:
    """Say why nothing was taken; if the reason is gone by now, take it after all."""
    row, is_repeated = _lock(workspace_id, side, operation_id)
    if is_repeated:
        again = _again(operation_id, row, OperationKind.HOLD, amount, reference)
        return Held(again, row.limits_version)
    if max_open_holds is not None and row.open_holds >= max_open_holds:
        raise ConcurrencyLimitReached(max_open_holds)
    if row.available_credits < amount:
        raise InsufficientCredit(amount, row.available_credits)
    return hold(workspace_id, amount, operation_id, reference, now, side=side, max_open_holds=max_open_holds)


def capture(hold_operation_id: str, amount_credits: int, operation_id: str, now: datetime) -> Settlement:
    """Charge part or all of a hold and release the rest; raises OperationConflict on a second, different end."""
    holds = Operation.objects.across_workspaces().filter(kind=OperationKind.HOLD)
    held = holds.get(operation_id=hold_operation_id)
    with _joined(held.workspace_id):
        row, is_repeated = _lock(held.workspace_id, Side(held.side), operation_id)
        if ended := Operation.objects.across_workspaces().filter(resolves=held).first():
            return _same_settlement(ended, held, operation_id, amount_credits)
        if is_repeated or not 0 <= amount_credits <= held.amount_credits:
            raise OperationConflict(f"{operation_id} captures {amount_credits} of {held.amount_credits}.")
        operation = Operation(
            operation_id=operation_id,
            kind=OperationKind.SETTLE,
            workspace_id=held.workspace_id,
            side=held.side,
            amount_credits=amount_credits,
            reference=held.reference,
            resolves=held,
            created_at=now,
        )
        returned = _settle_grants(operation, held, amount_credits, now)
        _move(row.workspace_id, Side(row.side), available=returned, held=-held.amount_credits, open_holds=-1)
    return Settlement(amount_credits, held.amount_credits - amount_credits, operation.revenue_micros)


def release(hold_operation_id: str, operation_id: str, now: datetime) -> Settlement:
    """Give a whole hold back."""
    return capture(hold_operation_id, 0, operation_id, now)


def expire_due(now: datetime) -> int:
    """Move what is left of expired grants to breakage; returns how many grants had something left."""
    due = Grant.objects.across_workspaces().filter(expires_at__lte=now, remaining_credits__gt=0)
    sides = due.values_list("workspace_id", "side").distinct()
    return sum(_expire_side(workspace_id, Side(side), now) for workspace_id, side in sides)


def _expire_side(workspace_id: uuid.UUID, side: Side, now: datetime) -> int:
    with _joined(workspace_id):
        _lock(workspace_id, side)
        due = list(_with_credits_left(workspace_id, side).filter(expires_at__lte=now))
        for expired in due:
            _expire(expired)
    return len(due)


def limits_version(workspace_id: uuid.UUID, side: Side) -> int:
    """How often the workspace's quotas have changed, as far as this side's balance knows."""
    return _balance_of(workspace_id, side).values_list("limits_version", flat=True).first() or 0


def limits_changed(workspace_id: uuid.UUID) -> None:
    """Lock both sides until the transaction ends and tell whoever holds credits next that quotas changed."""
    for side in sorted(Side):
        row, _ = _lock(workspace_id, side)
        row.limits_version += 1
        row.save(update_fields=["limits_version"])


def _joined(workspace_id: uuid.UUID) -> contextlib.AbstractContextManager[object]:
    """The caller's transaction of this workspace, or one of our own.

    Joining one makes no savepoint, which would cost the accepting path two statements. So every function here must
    leave the books in order when it raises.
    """
    return contextlib.nullcontext() if tenancy.is_writing(workspace_id) else tenancy.writing(workspace_id)


class Locked(NamedTuple):
    """A balance row under lock, and whether the operation at hand was posted before."""

    row: Balance
    is_repeated: bool


def _lock(workspace_id: uuid.UUID, side: Side, operation_id: str = "") -> Locked:
    """Lock the balance until the transaction ends; a side's first operation makes its row.

    `is_repeated` is from before the lock was granted: good enough for a hold, whose job has one accepting
    transaction; the unique column stops a twin.
    """
    seen = Operation.objects.across_workspaces().filter(operation_id=operation_id)
    rows = _balance_of(workspace_id, side).select_for_update(of=("self",))
    row = rows.annotate(is_repeated=Exists(seen)).first()
    if row is None:
        Balance.objects.across_workspaces().get_or_create(workspace_id=workspace_id, side=side)
        return _lock(workspace_id, side, operation_id)
    return Locked(row, row.is_repeated)


def _again(operation_id: str, row: Balance, kind: OperationKind, amount: int, reference: str) -> Operation:
    """The earlier operation of this id; raises OperationConflict when it was something else."""
    found = Operation.objects.across_workspaces().get(operation_id=operation_id)
    fields = (found.workspace_id, found.side, found.kind, found.amount_credits, found.reference)
    if fields != (row.workspace_id, row.side, kind, amount, reference):
        raise OperationConflict(f"{operation_id} was used for another {found.kind}.")
    return found


def _granted_again(
    operation_id: str, row: Balance, amount: int, source: Source, terms: tuple[int, datetime | None, int]
) -> Operation:
    found = _again(operation_id, row, OperationKind.GRANT, amount, str(source))
    given = Grant.objects.for_workspace(row.workspace_id).filter(entries__operation=found).distinct().get()
    if (given.priority, given.expires_at, given.paid_minor_units) != terms:
        raise OperationConflict(f"{operation_id} was used for a grant with other terms.")
    return found


def _same_settlement(ended: Operation, held: Operation, operation_id: str, amount: int) -> Settlement:
    if (ended.operation_id, ended.amount_credits) != (operation_id, amount):
        raise OperationConflict(f"{held.operation_id} ended by {ended.operation_id} already.")
    return Settlement(amount, held.amount_credits - amount, ended.revenue_micros)


def _operation(
    workspace_id: uuid.UUID,
    side: Side,
    operation_id: str,
    kind: OperationKind,
    amount: int,
    reference: str,
    now: datetime | None = None,
) -> Operation:
    operation = Operation(
        operation_id=operation_id,
        kind=kind,
        workspace_id=workspace_id,
        side=side,
        amount_credits=amount,
        reference=reference,
    )
    if now is None:
        operation.save(force_insert=True)  # which reads the time back
    else:
        operation.created_at = now
        insert(operation)
    return operation


def _post(operation: Operation, *lines: tuple[Account, uuid.UUID, int], source: str = "") -> None:
    entries = [
        Entry(
            operation=operation,
            workspace_id=operation.workspace_id,
            side=operation.side,
            account=account,
            source=source if account == Account.ISSUED else "",
            grant_id=grant_id,
            amount_credits=amount,
        )
        for account, grant_id, amount in lines
        if amount
    ]
    if entries:
        insert(*entries)


def _balance_of(workspace_id: uuid.UUID, side: Side) -> QuerySet[Balance]:
    return Balance.objects.for_workspace(workspace_id).filter(side=side)


def _move(workspace_id: uuid.UUID, side: Side, *, available: int, held: int = 0, open_holds: int = 0) -> None:
    """Change a balance's sums; the caller has locked it."""
    _balance_of(workspace_id, side).update(
        available_credits=F("available_credits") + available,
        held_credits=F("held_credits") + held,
        open_holds=F("open_holds") + open_holds,
    )


def _with_credits_left(workspace_id: uuid.UUID, side: Side) -> QuerySet[Grant]:
    return Grant.objects.for_workspace(workspace_id).filter(side=side, remaining_credits__gt=0)


def _by_expiry(left: list[Grant], now: datetime) -> tuple[list[Grant], list[Grant]]:
    """Grants that can be spent, in burn order, and those that have expired."""
    spendable: list[Grant] = []
    expired: list[Grant] = []
    for one in left:
        (expired if _is_expired(one, now) else spendable).append(one)
    return sorted(spendable, key=_burn_order), expired


def _is_expired(one: Grant, now: datetime) -> bool:
    return one.expires_at is not None and one.expires_at <= now


def _burn_order(candidate: Grant) -> tuple[int, bool, float, bool, uuid.UUID]:
    """Priority, then earliest expiry, then granted before bought, then oldest (ids sort by time)."""
    never = candidate.expires_at is None
    expiry = candidate.expires_at.timestamp() if candidate.expires_at else 0.0
    return candidate.priority, never, expiry, candidate.source in BOUGHT, candidate.pk


def _expire(expired: Grant) -> None:
    """Post what is left of a grant to breakage; the caller has locked the balance."""
    lost, side = expired.remaining_credits, Side(expired.side)
    reference = ids.public(ids.Prefix.GRANT, expired.pk)
    operation = _operation(
        expired.workspace_id, side, f"expire:{ids.new_id()}", OperationKind.EXPIRE, lost, reference
    )
    _post(operation, (Account.AVAILABLE, expired.pk, -lost), (Account.BREAKAGE, expired.pk, lost))
    expired.remaining_credits = 0
    expired.save(update_fields=["remaining_credits"])
    _move(expired.workspace_id, side, available=-lost)


def _take(operation: Operation, grants: list[Grant], amount: int) -> None:
    """Allocate the hold over the grants; the held entries are the record of the allocation."""
    lines, touched = [], []
    for source in grants:
        if not amount:
            break
        part = min(amount, source.remaining_credits)
        source.remaining_credits -= part
        source.held_credits += part
        amount -= part
        touched.append(source)
        lines += [(Account.AVAILABLE, source.pk, -part), (Account.HELD, source.pk, part)]
    assert not amount, "the balance promised more than its grants hold; ledger.verify says where"
    _post(operation, *lines)
    _save_grants(touched, "remaining_credits", "held_credits")


def _settle_grants(operation: Operation, held: Operation, captured: int, now: datetime) -> int:
    """Write the operation with its entries, grant by grant in burn order; returns credits made available."""
    allocated = Entry.objects.for_workspace(held.workspace_id).filter(operation=held, account=Account.HELD)
    lines, touched, returned = [], [], 0
    for line in allocated.select_related("grant").order_by("id"):
        part, source = min(captured, line.amount_credits), line.grant
        assert source is not None, "every held entry names its grant"
        rest = line.amount_credits - part
        captured -= part
        operation.revenue_micros += _revenue(source, part)
        is_expired = _is_expired(source, now)
        source.held_credits -= line.amount_credits
        source.captured_credits += part
        if not is_expired:
            source.remaining_credits += rest
            returned += rest
        touched.append(source)
        lines += [
            (Account.HELD, source.pk, -line.amount_credits),
            (Account.REVENUE, source.pk, part),
            (Account.BREAKAGE if is_expired else Account.AVAILABLE, source.pk, rest),
        ]
    insert(operation)
    _post(operation, *lines)
    _save_grants(touched, "remaining_credits", "held_credits", "captured_credits")
    return returned


def _revenue(source: Grant, part: int) -> int:
    """Micro minor units that `part` more captured credits of a grant earn.

    Taken as a difference of running totals, so that a grant captured in any number of parts earns exactly what
    was paid for it.
    """
    paid = source.paid_minor_units * MICROS_PER_MINOR_UNIT
    before, after = source.captured_credits, source.captured_credits + part
    return paid * after // source.amount_credits - paid * before // source.amount_credits


def _save_grants(grants: list[Grant], *fields: str) -> None:
    if len(grants) == 1:  # nearly always, and a plain UPDATE costs a third
        one = grants[0]
        rows = Grant.objects.for_workspace(one.workspace_id).filter(pk=one.pk)
        rows.update(**{field: getattr(one, field) for field in fields})
    elif grants:
        Grant.objects.across_workspaces().bulk_update(grants, fields)
