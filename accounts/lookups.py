"""Rows that every request needs and that seldom change, kept in the process for as long as they are current.

Database triggers raise a topic's version with each change (`cache_versions`). A process reads all versions with the
database's time at most every POLL_SECONDS, and no request goes on with a reading older than MAX_AGE_SECONDS. So a
revoked key is refused everywhere within that time, and nothing but the database is needed for it.
"""

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, TypeVar

from django.conf import settings

from accounts import clock
from accounts.models import CacheVersion

Value = TypeVar("Value")

POLL_SECONDS = 0.25
MAX_AGE_SECONDS = 0.5
MAX_ENTRIES = 20_000


class Topic(StrEnum):
    """What is kept, by who changes it; each has its triggers in a migration."""

    KEYS = "keys"
    LIMITS = "limits"
    CATALOG = "catalog"


@dataclass(frozen=True)
class _Reading:
    versions: dict[str, int]
    at: datetime
    taken: float  # monotonic, from before the query

    @property
    def age(self) -> float:
        return time.monotonic() - self.taken


_reading: _Reading | None = None
_forgotten = 0  # how often `forget` was called: a poll that began before must not bring the old reading back
_poll = threading.Lock()


def _current() -> _Reading:
    """A reading young enough. One thread renews it; the others go on with the last one as long as that may serve."""
    last = _reading
    if last is not None and last.age < POLL_SECONDS:
        return last
    may_go_on = last is not None and last.age < MAX_AGE_SECONDS
    if not _poll.acquire(blocking=not may_go_on):
        assert last is not None
        return last
    try:
        return _renewed()
    finally:
        _poll.release()


def _renewed() -> _Reading:
    global _reading
    last, forgotten = _reading, _forgotten
    if last is not None and last.age < POLL_SECONDS:  # while we waited, another thread has asked
        return last
    taken = time.monotonic()
    at = clock.now()
    new = _Reading(dict(CacheVersion.objects.values_list("topic", "version")), at, taken)
    if forgotten == _forgotten:
        _reading = new
    return new


def forget() -> None:
    """Ask the database at the next call. For a process that has just changed something itself."""
    global _reading, _forgotten
    _forgotten += 1
    _reading = None


def now() -> datetime:
    """The database's time, without asking it: its last reading and the time since. The host's clock has no part."""
    if not settings.LOOKUP_SECONDS:
        return clock.now()
    reading = _current()
    return reading.at + timedelta(seconds=reading.age)


class Lookup(Generic[Value]):
    """A function's results by its arguments, loaded anew when its topic's version has risen or time is up.

    What the function raises is not kept. Results are shared between requests: nobody may change them.
    """

    def __init__(self, topic: Topic, load: Callable[..., Value]) -> None:
        self._topic, self._load = topic, load
        self._kept: dict[tuple[Hashable, ...], tuple[Value, int, float]] = {}

    def __call__(self, *arguments: Any) -> Value:
        if not settings.LOOKUP_SECONDS:
            return self._load(*arguments)
        version = _current().versions.get(self._topic, 0)  # read before the row, so never newer than it
        if kept := self._kept.get(arguments):
            value, its_version, until = kept
            if its_version == version and time.monotonic() < until:
                return value
        value = self._load(*arguments)
        if len(self._kept) >= MAX_ENTRIES:
            self._kept.clear()
        self._kept[arguments] = (value, version, time.monotonic() + settings.LOOKUP_SECONDS)
        return value
