"""The calendar of quotas: which period an instant falls into. Pure functions, no database.

A period begins at 00:00 of a workspace's time zone and lasts to the next beginning, so periods follow each other
without a gap. Where clocks jump over midnight it begins with the jump; where midnight comes twice, with the first.
"""

import functools
from bisect import bisect_left
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from importlib import resources
from itertools import pairwise
from typing import Self
from zoneinfo import ZoneInfo

from accounts.models import Window, Workspace

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # where the one period of a total begins
# After a change of zone no period is shorter: a new one comes with a new budget.
SHORTEST = {Window.DAY: timedelta(hours=12), Window.MONTH: timedelta(days=15)}
ANCHOR_DAYS = range(1, 32)


class UnknownTimeZone(ValueError):
    """Not a name with a region of the IANA time zone database, such as `Europe/Berlin`, nor `UTC`."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            f"{name[:64]!r} is not taken as a time zone. Take a name with a region, such as Europe/Berlin, or UTC."
        )


@dataclass(frozen=True)
class Period:
    """From start to end, the end not included; aware, in UTC. A total has no end."""

    start: datetime
    end: datetime | None


@dataclass(frozen=True)
class Schedule:
    """A workspace's time zone, and the one before it with the time of the change."""

    time_zone: str = "UTC"
    earlier_time_zone: str = ""
    changed_at: datetime | None = None

    @classmethod
    def of(cls, workspace: Workspace) -> Self:
        return cls(workspace.time_zone, workspace.earlier_time_zone, workspace.time_zone_changed_at)


@functools.cache
def names() -> frozenset[str]:
    """All time zones that have a region in their name, and UTC.

    The others are abbreviations and old names, such as EST5EDT and Japan.
    """
    listed = resources.files("tzdata").joinpath("zones").read_text().split()
    return frozenset(name for name in listed if "/" in name) | {"UTC"}


def zone(name: str) -> ZoneInfo:
    """Raises UnknownTimeZone."""
    if name not in names():
        raise UnknownTimeZone(name)
    return _read(name)


@functools.cache
def _read(name: str) -> ZoneInfo:
    # Not the machine's own files: two machines of different age would count into different periods.
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def period(window: Window, schedule: Schedule, now: datetime, anchor_day: int = 1) -> Period:
    """The period that `now` falls into. A month begins on the anchor day, or on its last day where it has no such.

    A change of zone takes effect at the end of the period into which it falls. The next one lasts to the new zone's
    first beginning that is not too soon, and from there on all are the new zone's.
    """
    if window == Window.TOTAL:
        return Period(EPOCH, None)
    if bridge := _bridge(window, schedule, anchor_day):
        start, end = bridge
        if now < start:
            return Period(*_in_zone(window, schedule.earlier_time_zone, now, anchor_day))
        if now < end:
            return Period(start, end)
    return Period(*_in_zone(window, schedule.time_zone, now, anchor_day))


def settled_at(schedule: Schedule) -> datetime | None:
    """When the last change of zone has taken effect for every window and anchor day; None without a change."""
    bridges = [_bridge(window, schedule, day) for window in SHORTEST for day in ANCHOR_DAYS]
    return max((end for _, end in filter(None, bridges)), default=None)


def _bridge(window: Window, schedule: Schedule, anchor_day: int) -> tuple[datetime, datetime] | None:
    """Start and end of the one period that begins in the earlier zone and ends in the present one."""
    if schedule.changed_at is None:
        return None
    _, start = _in_zone(window, schedule.earlier_time_zone, schedule.changed_at, anchor_day)
    soonest = start + SHORTEST[window]
    begins, ends = _in_zone(window, schedule.time_zone, soonest, anchor_day)
    return start, soonest if begins == soonest else ends


def _in_zone(window: Window, name: str, now: datetime, anchor_day: int) -> tuple[datetime, datetime]:
    """Start and end of the period around `now` in a zone that never changed."""
    here = zone(name)
    today = now.astimezone(here).date()
    # Two days can begin at once, where a zone skipped one, and the clock can go back into the day before.
    starts = (_first_instant(here, day) for day in _days_around(window, today, anchor_day))
    return next((start, end) for start, end in pairwise(starts) if start <= now < end)


def _days_around(window: Window, today: date, anchor_day: int) -> Iterator[date]:
    """Days on which periods begin, from the last one to a few ahead."""
    for offset in range(-1, 4):
        if window == Window.DAY:
            yield today + timedelta(days=offset)
        else:
            year, month = divmod(today.year * 12 + today.month - 1 + offset, 12)
            yield date(year, month + 1, min(anchor_day, monthrange(year, month + 1)[1]))


@functools.lru_cache(maxsize=10_000)
def _first_instant(here: ZoneInfo, day: date) -> datetime:
    """When the day, or a later one, is first shown by clocks of the zone."""
    midnight = datetime.combine(day, time(), here)
    first, other = midnight.astimezone(UTC), midnight.replace(fold=1).astimezone(UTC)
    if first <= other:
        return first
    # No clock shows this midnight. The two readings of it lie around the jump.
    seconds = range(int((first - other).total_seconds()))
    jump = bisect_left(
        seconds, True, key=lambda second: (other + timedelta(seconds=second)).astimezone(here).date() >= day
    )
    return other + timedelta(seconds=jump)
