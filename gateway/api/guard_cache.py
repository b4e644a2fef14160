"""The cache behind `guards`: counts in Redis, which all web processes share, or in this process while it is away.

django-ratelimit answers a cache that raises with an error for everybody; this one never raises.
"""

from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.locmem import LocMemCache

from gateway import redis_client
from gateway.redis_client import RedisUnavailable

SECONDS = 65  # a count's minute and some


class SharedCounts(LocMemCache):
    """As much of a cache as counting takes."""

    def add(
        self, key: Any, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        name = self.make_key(key, version)
        try:
            return bool(redis_client.call(lambda redis: redis.set(name, value, nx=True, ex=SECONDS)))
        except RedisUnavailable:
            return super().add(key, value, timeout, version)

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        name = self.make_key(key, version)
        try:
            return redis_client.call(lambda redis: _incremented(redis, name, delta))
        except RedisUnavailable:
            # What Redis counted is out of reach, so this process counts anew.
            return delta if super().add(key, delta, SECONDS, version) else super().incr(key, delta, version)


def _incremented(redis: Any, name: str, delta: int) -> int:
    """The life is set each time: between adding and counting the entry may have ended."""
    with redis.pipeline() as both:
        both.incrby(name, delta)
        both.expire(name, SECONDS)
        total, _ = both.execute()
    return int(total)
