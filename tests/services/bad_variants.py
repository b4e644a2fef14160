"""The web process with a known fault in place of the product's own code: `uvicorn tests.services.bad_variants:NAME`.

The races and the tenant matrix must find each of them; what cannot fail proves nothing.
"""

import functools
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db.models import Sum

from gateway.asgi import application

# The application sets Django up, without which no model can be imported.
# isort: split
from accounts import lookups, tenancy
from accounts.models import Side
from accounts.quotas import QuotaState
from billing import ledger
from billing.ledger import Held
from billing.models import Account, Entry, OperationKind
from inference import preparation, quotas
from inference.models import Job
from inference.quotas import InForce

# --- Credit and concurrency: read, check, save --------------------------------------------------


def _hold_by_saving(
    workspace_id: uuid.UUID,
    amount_credits: int,
    operation_id: str,
    reference: str,
    now: datetime,
    *,
    side: Side = Side.LIVE,
    max_open_holds: int | None = None,
) -> Held:
    row = ledger._balance_of(workspace_id, side).get()
    grants = list(ledger._with_credits_left(workspace_id, side))
    if max_open_holds is not None and row.open_holds >= max_open_holds:
        raise ledger.ConcurrencyLimitReached(max_open_holds)
    if row.available_credits < amount_credits:
        raise ledger.InsufficientCredit(amount_credits, row.available_credits)
    row.available_credits -= amount_credits
    row.held_credits += amount_credits
    row.open_holds += 1
    row.save()
    operation = ledger._operation(
        workspace_id, side, operation_id, OperationKind.HOLD, amount_credits, reference, now
    )
    ledger._take(operation, grants, amount_credits)
    return Held(operation, row.limits_version)


# --- Credit: sum the entries, insert another ----------------------------------------------------


def _hold_by_summing(
    workspace_id: uuid.UUID,
    amount_credits: int,
    operation_id: str,
    reference: str,
    now: datetime,
    *,
    side: Side = Side.LIVE,
    max_open_holds: int | None = None,
) -> Held:
    entries = Entry.objects.for_workspace(workspace_id).filter(side=side, account=Account.AVAILABLE)
    available = entries.aggregate(sum=Sum("amount_credits"))["sum"]
    if available < amount_credits:
        raise ledger.InsufficientCredit(amount_credits, available)
    operation = ledger._operation(
        workspace_id, side, operation_id, OperationKind.HOLD, amount_credits, reference, now
    )
    grant_id = ledger._with_credits_left(workspace_id, side)[0].pk
    taken = (Account.AVAILABLE, grant_id, -amount_credits), (Account.HELD, grant_id, amount_credits)
    ledger._post(operation, *taken)
    return Held(operation, ledger.limits_version(workspace_id, side))


# --- Quotas: read, check, save, and before the balance is locked --------------------------------


def _count_by_saving(known: InForce, job: Job) -> None:
    for counter in quotas._counters(known, job, job.created_at):
        mine = {"workspace_id": job.workspace_id, "side": job.side, **counter.row}
        row, _ = quotas._row(job, counter).get_or_create(**mine)
        amount = quotas._amount(job, counter.limit.unit)
        if row.used + amount > counter.limit.limit:
            before = QuotaState(counter.limit, row.used, counter.period.end)
            raise quotas.QuotaExceeded(before, amount)
        row.used += amount
        row.save(update_fields=["used"])


def _counted_when_drafted(draft: Callable[..., Job]) -> Callable[..., Job]:
    def counting(*arguments: Any) -> Job:
        job = draft(*arguments)
        _count_by_saving(quotas.in_force(job.workspace_id), job)
        return job

    return counting


# --- Tenants: the filter is forgotten everywhere ------------------------------------------------


def _everybodys(manager: Any, workspace: Any) -> Any:
    return manager.across_workspaces()


# --- Which one ----------------------------------------------------------------------------------


def _plant_credit_by_saving() -> None:
    ledger.hold = _hold_by_saving


def _plant_credit_by_summing() -> None:
    ledger.hold = _hold_by_summing


def _plant_quota_by_saving() -> None:
    preparation.draft = _counted_when_drafted(preparation.draft)
    quotas.take = lambda *_: []


def _plant_forgotten_filter() -> None:
    tenancy.WorkspaceManager.for_workspace = _everybodys  # type: ignore[method-assign]


def _plant_stale_keys() -> None:
    """Keys are kept for their time, whatever changes."""
    current = lookups._current
    lookups._current = lambda: replace(current(), versions={})


FAULTS = {
    "credit_by_saving": _plant_credit_by_saving,
    "credit_by_summing": _plant_credit_by_summing,
    "quota_by_saving": _plant_quota_by_saving,
    "forgotten_filter": _plant_forgotten_filter,
    "stale_keys": _plant_stale_keys,
}


def __getattr__(name: str) -> Any:
    """The application with that fault; a process has one."""
    if name not in FAULTS:
        raise AttributeError(name)
    return _planted(name)


@functools.cache
def _planted(name: str) -> Any:
    """Once, however often the server asks for the attribute."""
    FAULTS[name]()
    return application
