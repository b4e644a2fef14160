"""What ledger and quotas promise of one workspace, in lists and dictionaries; of the product it has only the calendar.

A count is never kept here: it is what the jobs of the period add up to, whenever anybody asks.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import product
from typing import NamedTuple

from accounts import periods
from accounts.models import QuotaUnit, Side, Subject, Window
from accounts.periods import Period, Schedule

BOUGHT = ("plan", "pack", "overage")
MICROS = 1_000_000
MAX_TRIES = 3
START_WITHIN, LEASE, REMEMBERED = timedelta(minutes=10), timedelta(seconds=30), timedelta(hours=24)

Place = tuple[Subject, str, QuotaUnit, Window]


class Refusal(NamedTuple):
    """The error that the product must raise, and its numbers."""

    error: str
    numbers: tuple[object, ...] = ()


@dataclass(eq=False)
class Grant:
    amount: int
    side: Side
    source: str
    priority: int
    expires_at: datetime | None
    paid: int
    number: int = 0
    remaining: int = 0
    held: int = 0
    captured: int = 0

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    @property
    def burn_order(self) -> tuple[int, bool, float, bool, int]:
        expiry = self.expires_at.timestamp() if self.expires_at else 0.0
        return self.priority, self.expires_at is None, expiry, self.source in BOUGHT, self.number

    def earn(self, captured: int) -> int:
        before, self.captured = self.captured, self.captured + captured
        return self.paid * MICROS * self.captured // self.amount - self.paid * MICROS * before // self.amount


@dataclass(frozen=True)
class Price:
    """Credits per image, or per GPU second when `seconds` says how long a run may take at most."""

    credits: int
    seconds: int = 0

    def quoted(self, images: int) -> int:
        return -(-self.seconds * self.credits // images) if self.seconds else self.credits

    def used(self, images: int, gpu_ms: int, drawn: int) -> int:
        used = -(-gpu_ms * self.credits // (1_000 * max(drawn, 1)))
        return min(self.quoted(images), used) if self.seconds else self.credits


@dataclass(frozen=True)
class Request:
    """Who asks for how many images at what price; `subjects` are those whose quotas it falls under."""

    side: Side
    subjects: tuple[tuple[Subject, str], ...]
    price: Price
    images: int

    @property
    def credits(self) -> int:
        return self.price.quoted(self.images) * self.images

    def amount(self, unit: QuotaUnit) -> int:
        return self.images if unit == QuotaUnit.IMAGES else self.credits


@dataclass(eq=False)
class Job:
    request: Request
    accepted_at: datetime
    start_deadline_at: datetime
    parts: list[tuple[Grant, int]]
    state: str = "queued"
    attempt: int = 0
    given_back: int = 0
    lease_until: datetime | None = None
    is_cancel_requested: bool = False
    delivered: int = 0
    captured: int = 0
    revenue_micros: int = 0

    @property
    def is_open(self) -> bool:
        return self.state in ("queued", "processing")

    def counts(self, unit: QuotaUnit) -> int:
        """What the job weighs in a quota: all it asked for until it ends, what it delivered from then on."""
        if self.is_open:
            return self.request.amount(unit)
        return self.delivered if unit == QuotaUnit.IMAGES else self.captured


@dataclass(frozen=True)
class Limit:
    most: int
    is_hard: bool
    anchor_day: int


@dataclass(frozen=True)
class Counter:
    """A limit as it applies to one subject of one side, in one period."""

    side: Side
    place: Place
    limit: Limit
    period: Period


@dataclass
class Model:
    concurrent_jobs: int
    grants: list[Grant] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    limits: dict[Place, Limit] = field(default_factory=dict)
    schedule: Schedule = field(default_factory=Schedule)
    remembered: dict[tuple[Side, str], tuple[object, Job, datetime]] = field(default_factory=dict)
    counters: dict[tuple[Side, Place, datetime], Counter] = field(default_factory=dict)
    told: set[tuple[Side, Place, datetime]] = field(default_factory=set)
    crossings: int = 0

    # --- Credits --------------------------------------------------------------------------------

    def give(self, new: Grant) -> None:
        new.number, new.remaining = len(self.grants), new.amount
        self.grants.append(new)

    def shown(self, side: Side) -> int:
        """Available as the balance has it: what expired counts until somebody sweeps it."""
        return sum(grant.remaining for grant in self.grants if grant.side == side)

    def spendable(self, side: Side, now: datetime) -> list[Grant]:
        alive = (one for one in self.grants if one.side == side and one.remaining and not one.is_expired(now))
        return sorted(alive, key=lambda one: one.burn_order)

    def balance(self, side: Side) -> tuple[int, int, int, int]:
        """Available, held, debt, open holds."""
        held = sum(grant.held for grant in self.grants if grant.side == side)
        return self.shown(side), held, 0, len(self.open_jobs(side))

    def open_jobs(self, side: Side) -> list[Job]:
        return [job for job in self.jobs if job.is_open and job.request.side == side]

    def expire_grants(self, now: datetime, *sides: Side) -> int:
        due = [one for one in self.grants if one.side in sides and one.remaining and one.is_expired(now)]
        for one in due:
            one.remaining = 0
        return len(due)

    def _hold(self, request: Request, now: datetime) -> list[tuple[Grant, int]]:
        self.expire_grants(now, request.side)
        parts, missing = [], request.credits
        for grant in self.spendable(request.side, now):
            part = min(missing, grant.remaining)
            grant.remaining -= part
            grant.held += part
            missing -= part
            parts += [(grant, part)] if part else []
        return parts

    # --- Quotas ---------------------------------------------------------------------------------

    def in_force(self, place: Place) -> Limit | None:
        """The subject's own limit, else the one for each of its kind."""
        subject, _, unit, window = place
        return self.limits.get(place) or self.limits.get((subject, "", unit, window))

    def applicable(self, request: Request, now: datetime) -> Iterator[Counter]:
        """In the order in which they are asked."""
        all_places = (
            (*subject, unit, window) for subject, unit, window in product(request.subjects, QuotaUnit, Window)
        )
        for place in sorted(all_places):
            if limit := self.in_force(place):
                yield Counter(request.side, place, limit, self.period(place, limit, now))

    def period(self, place: Place, limit: Limit, now: datetime) -> Period:
        return periods.period(place[3], self.schedule, now, limit.anchor_day)

    def used(self, side: Side, place: Place, period: Period) -> int:
        subject, subject_id, unit, _ = place
        return sum(
            job.counts(unit)
            for job in self.jobs
            if job.request.side == side
            and (subject, subject_id) in job.request.subjects
            and period.start <= job.accepted_at
            and (period.end is None or job.accepted_at < period.end)
        )

    def counted(self, side: Side, place: Place, start: datetime) -> int | None:
        """What a counter must say; None for one that nobody goes on counting."""
        known, limit = self.counters.get((side, place, start)), self.in_force(place)
        if known is None or limit is None or limit.anchor_day != known.limit.anchor_day:
            return None
        return self.used(side, place, known.period)

    def shown_quotas(self, side: Side, now: datetime) -> dict[Place, tuple[int, datetime | None]]:
        """What each limit's own subject used, and when it starts anew; one for each of a kind has no use of its own."""
        shown = {}
        for place, limit in self.limits.items():
            period = self.period(place, limit, now)
            is_for_each = place[0] != Subject.WORKSPACE and not place[1]
            shown[place] = (0 if is_for_each else self.used(side, place, period)), period.end
        return shown

    def set_limit(self, place: Place, limit: Limit) -> None:
        self.limits[place] = limit
        self._tell_again(place)

    def remove_limit(self, place: Place) -> None:
        del self.limits[place]
        self._tell_again(place)

    def _tell_again(self, place: Place) -> None:
        """What crossed the limit before it was changed is not remembered, for none of the subjects it stands for."""
        subject, subject_id, unit, window = place
        self.told = {
            (side, its, start)
            for side, its, start in self.told
            if (its[0], *its[2:]) != (subject, unit, window) or subject_id not in ("", its[1])
        }

    # --- Jobs -----------------------------------------------------------------------------------

    def refusal(self, request: Request, now: datetime) -> Refusal | None:
        if len(self.open_jobs(request.side)) >= self.concurrent_jobs:
            return Refusal("ConcurrencyLimitReached", (self.concurrent_jobs,))
        spendable = sum(grant.remaining for grant in self.spendable(request.side, now))
        if spendable < request.credits:
            shown = self.shown(request.side)
            return Refusal(
                "InsufficientCredit", (request.credits, shown if shown < request.credits else spendable)
            )
        for one in self.applicable(request, now):
            used, amount = self.used(one.side, one.place, one.period), request.amount(one.place[2])
            if one.limit.is_hard and used + amount > one.limit.most:
                numbers = (*one.place, one.limit.most, used, amount, one.period.end)
                return Refusal("QuotaExceeded", numbers)
        return None

    def accept(self, request: Request, now: datetime) -> Job:
        job = Job(request, now, now + START_WITHIN, self._hold(request, now))
        self.jobs.append(job)
        for one in self.applicable(request, now):
            key = (one.side, one.place, one.period.start)
            self.counters[key] = one
            is_over = self.used(*key[:2], one.period) > one.limit.most
            if is_over and key not in self.told:
                self.told.add(key)
                self.crossings += 1
        return job

    def states(self, request: Request, now: datetime) -> list[tuple[object, ...]]:
        """What the caller of an accepted job is told of its quotas."""
        return [
            (*one.place, one.limit.most, self.used(one.side, one.place, one.period), one.period.end)
            for one in self.applicable(request, now)
        ]

    def remember(self, side: Side, key: str, body: object, job: Job, now: datetime) -> None:
        self.remembered[side, key] = body, job, now

    def earlier(self, side: Side, key: str, now: datetime) -> tuple[object, Job] | None:
        found = self.remembered.get((side, key))
        return found[:2] if found and now < found[2] + REMEMBERED else None

    def silent_jobs(self, now: datetime) -> list[Job]:
        """Those whose worker let the lease run out."""
        return [job for job in self.jobs if job.lease_until and job.lease_until <= now]

    def late_jobs(self, now: datetime) -> list[Job]:
        """Those that nobody started in time."""
        return [job for job in self.jobs if job.state == "queued" and job.start_deadline_at <= now]

    def has_anything_due(self, now: datetime) -> bool:
        expired = any(grant.remaining and grant.is_expired(now) for grant in self.grants)
        return expired or bool(self.silent_jobs(now) or self.late_jobs(now))

    def is_held_by(self, job: Job, attempt: int) -> bool:
        return job.state == "processing" and job.attempt == attempt

    def can_start(self, job: Job, now: datetime) -> bool:
        return job.state == "queued" and now < job.start_deadline_at

    def claim(self, job: Job, now: datetime) -> None:
        job.state, job.lease_until = "processing", now + LEASE
        job.attempt += 1

    def renew(self, job: Job, now: datetime) -> None:
        job.lease_until = now + LEASE

    def settle(self, job: Job, state: str, now: datetime, delivered: int = 0, captured: int = 0) -> None:
        job.state, job.delivered, job.captured, job.lease_until = state, delivered, captured, None
        for grant, part in job.parts:
            charged = min(captured, part)
            captured -= charged
            grant.held -= part
            job.revenue_micros += grant.earn(charged)
            if not grant.is_expired(now):
                grant.remaining += part - charged

    def requeue(self, job: Job, now: datetime, *, is_over: bool = False) -> None:
        """Back into the queue; one that was asked to stop ends canceled, one without attempts left ends failed."""
        if job.is_cancel_requested:
            self.settle(job, "canceled", now)
        elif is_over:
            self.settle(job, "failed", now)
        else:
            job.state, job.lease_until, job.start_deadline_at = "queued", None, now + START_WITHIN

    def has_tried_enough(self, job: Job) -> bool:
        return job.attempt - job.given_back >= MAX_TRIES
