"""Buckets of one process, for where there is no Redis and for as long as it does not answer.

Each of n processes keeps a copy of every bucket, in which a request takes n times as much: as if all the others let
one through at the same moment. So together they let through what one bucket would, whoever gets which requests. A copy
goes on from the level that Redis told last, and what was let through without Redis is paid back to it afterwards.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.rate_limits.buckets import TOKEN, Limit, Taken, standing

MAX_BUCKETS = 50_000  # the longest unused is forgotten, which fills it


def _microseconds() -> int:
    return time.monotonic_ns() // 1_000


@dataclass
class _Bucket:
    level: int
    at: int
    admitted: int = 0  # requests that Redis does not know of


class LocalBuckets:
    def __init__(
        self, processes: int = 1, clock: Callable[[], int] = _microseconds, most: int = MAX_BUCKETS
    ) -> None:
        self._price, self._clock, self._most = TOKEN * processes, clock, most
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, limits: Sequence[Limit]) -> Taken:
        """One request from all of the limits, or from none."""
        with self._lock:
            now = self._clock()
            buckets = [self._filled(limit, now) for limit in limits]
            is_allowed = all(bucket.level >= self._price for bucket in buckets)
            if is_allowed:
                for bucket in buckets:
                    bucket.level -= self._price
                    bucket.admitted += 1
            pairs = zip(limits, buckets, strict=True)
            return Taken(
                is_allowed,
                tuple(standing(one, bucket.level, self._full(one), self._price) for one, bucket in pairs),
            )

    def note(self, limit: Limit, level: int) -> None:
        """Go on from the level that Redis told."""
        with self._lock:
            bucket = self._filled(limit, self._clock())
            bucket.level = level

    def pay(self, limit: Limit) -> int:
        """Requests that Redis is to be told of, as far as time has not made up for them; they are then forgotten."""
        with self._lock:
            if limit.bucket not in self._buckets:
                return 0
            bucket = self._filled(limit, self._clock())
            admitted, bucket.admitted = bucket.admitted, 0
            missing = -(-(self._full(limit) - bucket.level) // self._price)
            return min(admitted, max(0, missing))

    def owe(self, limit: Limit, requests: int) -> None:
        """Redis could not be told after all."""
        with self._lock:
            self._filled(limit, self._clock()).admitted += requests

    def _full(self, limit: Limit) -> int:
        """At least one request, or a small limit over many processes would let nothing through."""
        return max(limit.full, self._price) if limit.per_minute else 0

    def _filled(self, limit: Limit, now: int) -> _Bucket:
        full = self._full(limit)
        bucket = self._buckets.setdefault(limit.bucket, _Bucket(full, now))
        self._buckets.move_to_end(limit.bucket)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        bucket.level = min(full, bucket.level + limit.per_minute * max(0, now - bucket.at))
        bucket.at = now
        return bucket
