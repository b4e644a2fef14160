"""The days of a workspace's calendar, as reports name them: the same ones that quotas count by.

A day has the date that its last moment shows. So the one day that bridges a change of zone has a date too, and where
that date was used already, the two are reported as one.
"""

import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from accounts import periods
from accounts.models import Window, Workspace
from accounts.periods import Schedule

MOMENT = timedelta(microseconds=1)
LEAD = timedelta(days=3)  # more than zones differ, together with the longest bridge between two of them


@dataclass(frozen=True)
class Day:
    """From start to end, the end not included; aware, in UTC."""

    date: date
    start: datetime
    end: datetime


def schedule_of(workspace_id: uuid.UUID) -> Schedule:
    return Schedule.of(Workspace.objects.get(pk=workspace_id))


def zone_name(schedule: Schedule, day: Day) -> str:
    """The zone that the day is counted in: the earlier one up to the end of the day of the change."""
    is_earlier = schedule.changed_at is not None and day.start <= schedule.changed_at
    return schedule.earlier_time_zone if is_earlier else schedule.time_zone


def containing(schedule: Schedule, moment: datetime) -> Day:
    found = periods.period(Window.DAY, schedule, moment)
    assert found.end is not None, "every day ends"
    unnamed = Day(date.min, found.start, found.end)
    zone = periods.zone(zone_name(schedule, unnamed))
    return Day((found.end - MOMENT).astimezone(zone).date(), found.start, found.end)


def start_of(schedule: Schedule, wanted: date) -> datetime:
    """When the day begins; of a date that the calendar skips, when the next one begins."""
    noon = datetime.combine(wanted, time(12), UTC)
    return next(day.start for day in between(schedule, noon - LEAD, noon + LEAD) if day.date >= wanted)


def between(schedule: Schedule, since: datetime, until: datetime) -> list[Day]:
    """The days that have a part in the time, in order; never none."""
    days = [containing(schedule, since)]
    while days[-1].end < until:
        days.append(containing(schedule, days[-1].end))
    return days
