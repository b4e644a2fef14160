"""Trying a quota on the past: who would have been refused if it had been in force."""

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from accounts import periods, quotas, tenancy
from accounts.models import ApiKey, QuotaUnit, Side, Subject, Window
from accounts.periods import Period, Schedule
from billing import days
from billing.models import UsageRecord

CHUNK_ROWS = 2_000


@dataclass(frozen=True)
class ProposedLimit:
    """A limit that is not set. The subject id is one that use is counted under (`quotas.resolve`), or empty: each one.

    Raises InvalidLimit.
    """

    subject: Subject
    subject_id: str
    unit: QuotaUnit
    window: Window
    limit: int
    anchor_day: int = 1

    def __post_init__(self) -> None:
        quotas.check(self.subject, self.subject_id, self.window, self.limit, self.anchor_day)


class _Use(NamedTuple):
    """A settled job, by columns of its usage record."""

    images: int
    credits: int
    api_key_id: uuid.UUID | None
    membership_id: uuid.UUID | None
    end_user_hash: str
    accepted_at: datetime


@dataclass
class SubjectTrial:
    """What one subject would have met with."""

    subject_id: str
    jobs: int = 0
    refused_jobs: int = 0
    images_not_made: int = 0
    credits_not_spent: int = 0
    first_refused_at: datetime | None = None
    highest_use: int = 0  # in any one period


@dataclass(frozen=True)
class TrialResult:
    """Everybody with a job in the time, those refused most first."""

    subjects: tuple[SubjectTrial, ...]

    @property
    def refused_subjects(self) -> int:
        return sum(one.refused_jobs > 0 for one in self.subjects)

    @property
    def jobs(self) -> int:
        return sum(one.jobs for one in self.subjects)

    @property
    def refused_jobs(self) -> int:
        return sum(one.refused_jobs for one in self.subjects)

    @property
    def images_not_made(self) -> int:
        return sum(one.images_not_made for one in self.subjects)

    @property
    def credits_not_spent(self) -> int:
        return sum(one.credits_not_spent for one in self.subjects)


def trial(
    workspace_id: uuid.UUID, side: Side, proposed: ProposedLimit, since: datetime, until: datetime
) -> TrialResult:
    """Replay the jobs accepted from `since` until before `until` against the limit; a refused one is not counted.

    Counts begin with the period that `since` falls into. Jobs that delivered nothing do not take part.
    """
    found: dict[str, SubjectTrial] = {}
    with tenancy.reading(workspace_id):
        counts = _Counts(proposed, days.schedule_of(workspace_id), since)
        subject_of = _subjects(workspace_id, proposed)
        for row in _accepted(workspace_id, side, counts.period.start, until):
            subject_id = subject_of(row)
            if subject_id is None:
                continue
            is_refused = not counts.lets_through(subject_id, row)
            if row.accepted_at >= since:
                one = found.setdefault(subject_id, SubjectTrial(subject_id))
                _tell(one, row, counts.used[subject_id], is_refused)
    order = sorted(found.values(), key=lambda one: (-one.refused_jobs, -one.highest_use, one.subject_id))
    return TrialResult(tuple(order))


class _Counts:
    """What each subject used in the period that is replayed."""

    def __init__(self, proposed: ProposedLimit, schedule: Schedule, since: datetime) -> None:
        self._proposed, self._schedule = proposed, schedule
        self.period = self._period(since)
        self.used: Counter[str] = Counter()

    def lets_through(self, subject_id: str, row: _Use) -> bool:
        """Whether the job is within the limit; if so, it is counted."""
        if self.period.end is not None and row.accepted_at >= self.period.end:
            self.period = self._period(row.accepted_at)
            self.used.clear()
        amount = row.images if self._proposed.unit == QuotaUnit.IMAGES else row.credits
        is_within = self.used[subject_id] + amount <= self._proposed.limit
        if is_within:
            self.used[subject_id] += amount
        return is_within

    def _period(self, moment: datetime) -> Period:
        return periods.period(self._proposed.window, self._schedule, moment, self._proposed.anchor_day)


def _accepted(workspace_id: uuid.UUID, side: Side, since: datetime, until: datetime) -> Iterator[_Use]:
    rows = UsageRecord.objects.for_workspace(workspace_id).filter(
        side=side, accepted_at__gte=since, accepted_at__lt=until
    )
    in_order = rows.order_by("accepted_at", "pk").values_list(*_Use._fields)
    return (_Use(*row) for row in in_order.iterator(chunk_size=CHUNK_ROWS))


def _subjects(workspace_id: uuid.UUID, proposed: ProposedLimit) -> Callable[[_Use], str | None]:
    """Whose use a row is under the limit; None for a row that it does not concern."""
    name = _namer(workspace_id, proposed.subject)
    if proposed.subject_id or proposed.subject == Subject.WORKSPACE:
        return lambda row: proposed.subject_id if name(row) == proposed.subject_id else None
    # A limit for each one of a kind is neither for nobody nor for those that have their own.
    others = {"", *_own_limits(workspace_id, proposed)}
    return lambda row: None if (subject_id := name(row)) in others else subject_id


def _own_limits(workspace_id: uuid.UUID, proposed: ProposedLimit) -> Iterator[str]:
    kind = (proposed.subject, proposed.unit, proposed.window)
    for limit in quotas.read(workspace_id):
        if (limit.subject, limit.unit, limit.window) == kind:
            yield limit.subject_id


def _namer(workspace_id: uuid.UUID, subject: Subject) -> Callable[[_Use], str]:
    match subject:
        case Subject.MEMBER:
            return lambda row: str(row.membership_id or "")
        case Subject.KEY:
            keys = ApiKey.objects.for_workspace(workspace_id).values_list("pk", "lineage_id")
            lineages: dict[uuid.UUID | None, str] = {key: str(lineage) for key, lineage in keys}
            return lambda row: lineages.get(row.api_key_id, "")
        case Subject.END_USER:
            return lambda row: row.end_user_hash
        case Subject.WORKSPACE:
            return lambda row: ""


def _tell(one: SubjectTrial, row: _Use, used: int, is_refused: bool) -> None:
    one.jobs += 1
    one.highest_use = max(one.highest_use, used)
    if is_refused:
        one.refused_jobs += 1
        one.images_not_made += row.images
        one.credits_not_spent += row.credits
        one.first_refused_at = one.first_refused_at or row.accepted_at
