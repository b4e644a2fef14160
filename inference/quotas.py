"""Counting what quotas limit: images and credits of accepted jobs, per subject and period.

Counted in the accepting transaction after the balance row is locked, which serialises everybody who counts for that
side of the workspace: a hard limit is exact. The balance row also says whether the limits that the process knows are
the latest.

A counter is made by the first job that needs it and begins with what the period saw before anybody counted: the limit
may be younger than the period. So where there is a counter, it has every job of its subject and period: the
delivered part of those that ended, all of those that are under way. Therefore what a job did not deliver is returned
to the counters of the period in which it was accepted, whoever counted it there.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import (
    BigIntegerField,
    Case,
    F,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
    When,
)

from accounts import audit, ids, inserts, notices, quotas, tenancy
from accounts.audit import Event, Origin
from accounts.lookups import Lookup, Topic
from accounts.models import ApiKey, QuotaUnit, Side, Subject, Window, Workspace
from accounts.notices import Notice
from accounts.periods import Period, Schedule
from accounts.quotas import Limit, QuotaState
from accounts.roles import Action
from billing import days, ledger
from billing.models import UsageRecord
from inference import retention
from inference.models import UNFINISHED, Job, QuotaUse

KEPT = timedelta(days=100)  # a month, and as long as any job may take, and then some


class QuotaExceeded(Exception):
    """A hard quota has less left than the request needs."""

    def __init__(self, state: QuotaState, requested: int) -> None:
        self.state, self.requested = state, requested
        limit = state.limit
        super().__init__(
            f"{limit.limit} {limit.unit} per {limit.window} is the limit of the {limit.subject}."
        )


@dataclass(frozen=True)
class InForce:
    """The limits of a workspace with its calendar, and the version that its balance rows had before they were read."""

    versions: dict[str, int]
    workspace: Workspace
    schedule: Schedule
    limits: tuple[Limit, ...]


@dataclass(frozen=True)
class Counter:
    """A limit that applies to a job, in the period that the job is accepted in."""

    limit: Limit
    period: Period

    @property
    def row(self) -> dict[str, Any]:
        """The columns of its QuotaUse row."""
        names = ("subject", "subject_id", "unit", "window")
        return {**dict(zip(names, self.limit.counter, strict=True)), "period_start_at": self.period.start}


# --- Taking -------------------------------------------------------------------------------------


def _load(workspace_id: uuid.UUID) -> InForce:
    with tenancy.reading(workspace_id):
        versions = {str(side): ledger.limits_version(workspace_id, side) for side in Side}
        workspace = Workspace.objects.get(pk=workspace_id)
        return InForce(versions, workspace, Schedule.of(workspace), quotas.read(workspace_id))


_in_force = Lookup(Topic.LIMITS, _load)


def in_force(workspace_id: uuid.UUID) -> InForce:
    """The limits as far as this process knows; `take` makes sure."""
    return _in_force(workspace_id)


def _counters(known: InForce, job: Job, now: datetime) -> list[Counter]:
    if not known.limits:
        return []
    lineage = job.api_key.lineage_id if job.api_key else None
    limits = quotas.applicable(known.limits, job.membership_id, lineage, job.end_user_hash)
    return [Counter(one, one.period(known.schedule, now)) for one in limits]


def take(known: InForce, job: Job, limits_version: int, now: datetime) -> list[QuotaState]:
    """Count the job on every quota that applies to it; raises QuotaExceeded for a hard one.

    The balance must be locked, and `limits_version` read from it. The job's row must exist.
    """
    if known.versions[job.side] != limits_version:
        known = _load(job.workspace_id)
    counters = _counters(known, job, now)
    if not counters:
        return []
    used = _add(job, counters)
    return [_judge(job, one, used[one.limit.counter], now) for one in counters]


def _judge(job: Job, counter: Counter, used: int, now: datetime) -> QuotaState:
    limit, amount = counter.limit, _amount(job, counter.limit.unit)
    if used == amount:
        used = _recount(job, counter)
    if used > limit.limit:
        before = QuotaState(limit, used - amount, counter.period.end)
        if limit.is_hard:
            raise QuotaExceeded(before, amount)
        _tell_once(job, counter, now)
    return QuotaState(limit, used, counter.period.end)


def _amount(job: Job, unit: str) -> int:
    return job.num_images if unit == QuotaUnit.IMAGES else job.num_images * job.credits_per_image


# Django cannot add to the present value when an insert meets a row; absolute values would be right under the balance's
# lock only, and this is right in any case.
ADD = """ ON CONFLICT (workspace_id, side, subject, subject_id, unit, "window", period_start_at)
    DO UPDATE SET used = inference_quotause.used + EXCLUDED.used RETURNING subject, subject_id, unit, "window", used"""


def _add(job: Job, counters: Sequence[Counter]) -> dict[tuple[str, ...], int]:
    """Add the job to its counters in one statement; returns what each has now."""
    mine = {"workspace_id": job.workspace_id, "side": job.side}
    rows = [QuotaUse(**mine, **one.row, used=_amount(job, one.limit.unit)) for one in counters]
    statement, values = inserts.composed(*rows)
    with connection.cursor() as cursor:
        cursor.execute(statement + ADD, values)
        return {tuple(row[:-1]): row[-1] for row in cursor.fetchall()}


def _recount(job: Job, counter: Counter) -> int:
    """Set a new counter to what was used before anybody counted, this job included."""
    used = _used_without_counter(job.workspace_id, Side(job.side), counter)
    _row(job, counter).update(used=used)
    return used


def _row(job: Job, counter: Counter) -> QuerySet[QuotaUse]:
    rows = QuotaUse.objects.for_workspace(job.workspace_id).filter(side=job.side)
    return rows.filter(**counter.row)


def _tell_once(job: Job, counter: Counter, now: datetime) -> None:
    """A soft limit was crossed: say so once per counter and period, however often it is crossed again."""
    if _row(job, counter).filter(told_at__isnull=True).update(told_at=now):
        limit = counter.limit
        audit.record(
            Event.QUOTA_CROSSED,
            job.workspace_id,
            ids.public(ids.Prefix.QUOTA, limit.id),
            subject=limit.subject,
            subject_id=limit.subject_id,
            unit=limit.unit,
            window=limit.window,
            limit=limit.limit,
            job_id=job.public_id,
        )
        managers = notices.managers_of(job.workspace_id, Action.MANAGE_LIMITS)
        about = {"quota_id": str(limit.id), "subject_id": limit.subject_id}
        notices.put(Notice.QUOTA_CROSSED, job.workspace_id, managers, **about)


# --- Returning ----------------------------------------------------------------------------------


def give_back(job: Job, images: int, credits: int) -> None:
    """Return what the job did not deliver to the counters of its own period, even if that is over.

    The balance must be locked.
    """
    if not (images or credits):
        return
    mine = QuotaUse.objects.for_workspace(job.workspace_id).filter(_subjects_of(job), side=job.side)
    same = {
        name: OuterRef(name) for name in ("workspace_id", "side", "subject", "subject_id", "unit", "window")
    }
    begun = QuotaUse.objects.across_workspaces().filter(**same, period_start_at__lte=job.created_at)
    own_period = begun.order_by("-period_start_at").values("period_start_at")[:1]
    returned = Case(
        When(unit=QuotaUnit.IMAGES, then=Value(images)),
        default=Value(credits),
        output_field=BigIntegerField(),
    )
    mine.filter(period_start_at=Subquery(own_period)).update(used=F("used") - returned)


def _subjects_of(job: Job) -> Q:
    """Counters of the job's workspace, member, key and end user."""
    found = Q(subject=Subject.WORKSPACE)
    if job.membership_id:
        found |= Q(subject=Subject.MEMBER, subject_id=str(job.membership_id))
    if job.api_key:
        found |= Q(subject=Subject.KEY, subject_id=str(job.api_key.lineage_id))
    if job.end_user_hash:
        found |= Q(subject=Subject.END_USER, subject_id=job.end_user_hash)
    return found


# --- Changing limits ----------------------------------------------------------------------------


def set_limit(
    workspace_id: uuid.UUID,
    subject: Subject,
    subject_id: str,
    unit: QuotaUnit,
    window: Window,
    limit: int,
    *,
    is_hard: bool = True,
    anchor_day: int = 1,
    origin: Origin = audit.SYSTEM,
) -> Limit:
    """Set or replace a limit (see `accounts.quotas`), effective for the next job that anybody accepts."""
    with tenancy.writing(workspace_id):
        ledger.limits_changed(workspace_id)
        row = quotas.set_limit(
            workspace_id,
            subject,
            subject_id,
            unit,
            window,
            limit,
            is_hard=is_hard,
            anchor_day=anchor_day,
            origin=origin,
        )
        made = quotas.limit_of(row)
        _forget_counters(workspace_id, made)
    return made


def remove(workspace_id: uuid.UUID, quota_id: uuid.UUID, origin: Origin = audit.SYSTEM) -> None:
    """Raises QuotaNotFound."""
    with tenancy.writing(workspace_id):
        ledger.limits_changed(workspace_id)
        _forget_counters(workspace_id, quotas.remove(workspace_id, quota_id, origin))


def _forget_counters(workspace_id: uuid.UUID, limit: Limit) -> None:
    """Jobs that nobody counts find no counter to return to, and the next that is counted counts from the record."""
    rows = QuotaUse.objects.for_workspace(workspace_id)
    rows = rows.filter(subject=limit.subject, unit=limit.unit, window=limit.window)
    (rows.filter(subject_id=limit.subject_id) if limit.subject_id else rows).delete()


def delete_old(now: datetime) -> int:
    """Delete counters to which nothing can be returned any more; returns how many went."""
    over = QuotaUse.objects.across_workspaces().filter(period_start_at__lte=now - KEPT)
    return retention.delete_batch(over.exclude(window=Window.TOTAL))


# --- Looking ------------------------------------------------------------------------------------


def states(workspace_id: uuid.UUID, side: Side, limits: Iterable[Limit], now: datetime) -> list[QuotaState]:
    """How much of each limit is used. A limit for each of a kind is shown without use."""
    # Not from `in_force`: whoever has just changed a limit asks before the change is committed.
    schedule = days.schedule_of(workspace_id)
    counters = [Counter(limit, limit.period(schedule, now)) for limit in limits]
    rows = QuotaUse.objects.for_workspace(workspace_id).filter(side=side)
    rows = rows.filter(period_start_at__in={one.period.start for one in counters})
    names = ("subject", "subject_id", "unit", "window", "period_start_at")
    counted = {row[:-1]: row[-1] for row in rows.values_list(*names, "used")}

    def used(one: Counter) -> int:
        if one.limit.is_for_each:
            return 0
        count = counted.get(tuple(one.row.values()))
        return _used_without_counter(workspace_id, side, one) if count is None else count

    return [QuotaState(one.limit, used(one), one.period.end) for one in counters]


def _used_without_counter(workspace_id: uuid.UUID, side: Side, counter: Counter) -> int:
    """What the period saw: delivered by settled jobs, and all of those that are under way."""
    limit, start = counter.limit, counter.period.start
    subject = _of_subject(workspace_id, limit)
    settled = UsageRecord.objects.for_workspace(workspace_id).filter(
        subject, side=side, accepted_at__gte=start
    )
    running = Job.objects.for_workspace(workspace_id).filter(subject, side=side, created_at__gte=start)
    running = running.filter(state__in=UNFINISHED)
    if limit.unit == QuotaUnit.IMAGES:
        done, under_way = Sum("images"), Sum("num_images")
    else:
        done, under_way = Sum("credits"), Sum(F("num_images") * F("credits_per_image"))
    return (settled.aggregate(all=done)["all"] or 0) + (running.aggregate(all=under_way)["all"] or 0)


def _of_subject(workspace_id: uuid.UUID, limit: Limit) -> Q:
    match limit.subject:
        case Subject.MEMBER:
            return Q(membership_id=uuid.UUID(limit.subject_id))
        case Subject.KEY:
            mine = ApiKey.objects.for_workspace(workspace_id).filter(lineage_id=uuid.UUID(limit.subject_id))
            return Q(api_key_id__in=mine.values("pk"))
        case Subject.END_USER:
            return Q(end_user_hash=limit.subject_id)
        case _:
            return Q()
