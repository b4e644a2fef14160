"""Deleting what is over, a batch at a time, so that no clean-up holds locks for long."""

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, TypeVar

import structlog
from django.db.models import Q, QuerySet

from accounts import entitlements

log = structlog.get_logger(__name__)

Row = TypeVar("Row")

BATCH = 1_000
WHILE_SECONDS = 2.0
REST = timedelta(minutes=1)
MAX_DAYS = 36_500  # whoever asks for more means for ever, and dates do not reach back much further


def delete_batch(over: QuerySet[Any]) -> int:
    """Delete up to BATCH of the rows; returns how many went. The next sweep takes the next batch."""
    batch = list(over.values_list("pk", flat=True)[:BATCH])
    over.filter(pk__in=batch).delete()
    return len(batch)


def over_age(column: str, limit: str, now: datetime) -> Q:
    """Rows as old as their workspace keeps them, in days by the limit's name; 0 days keep for ever."""
    over = Q(pk__in=[])
    for days, theirs in entitlements.by_value(limit).items():
        if 0 < days <= MAX_DAYS:
            over |= theirs & Q(**{f"{column}__lte": now - timedelta(days=days)})
    return over


def for_a_while(rows: Iterable[Row], seconds: float = WHILE_SECONDS) -> Iterator[Row]:
    """The rows one by one until the time is over, at least one: storages can be slow, and jobs wait for the sweeper."""
    until = time.monotonic() + seconds
    for row in rows:
        yield row
        if time.monotonic() >= until:
            return


class Rounds:
    """When a process does a clean-up that looks at many rows: again and again while it finds some, else after a rest.

    A fault is logged and must not keep the other clean-ups.
    """

    def __init__(self, clean_up: Callable[[datetime], int], rest: timedelta = REST) -> None:
        self._clean_up, self._rest = clean_up, rest
        self._rests_since: datetime | None = None

    def go(self, now: datetime) -> int:
        if self._rests_since is not None and now - self._rests_since < self._rest:
            return 0
        try:
            done = self._clean_up(now)
        except Exception:
            log.exception("clean-up failed", clean_up=self._clean_up.__qualname__)
            done = 0
        self._rests_since = None if done else now
        return done
