"""The one connection to Redis, which makes things better and is never needed: counts that web processes share.

Nothing may wait for it. A call takes 0.1 s at most; after one that failed nobody tries for a second, and then one
request at a time. So a frozen Redis costs one request in a second a tenth of a second, besides those that were
under way when it froze. Callers have another way for the time being and take it on RedisUnavailable.
"""

import functools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import redis
import structlog
from django.conf import settings
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

TIMEOUT_SECONDS = 0.1
PAUSE_SECONDS = 1.0
OPTIONS: dict[str, Any] = {
    "socket_timeout": TIMEOUT_SECONDS,
    "socket_connect_timeout": TIMEOUT_SECONDS,
    "retry": Retry(NoBackoff(), 0),
    "health_check_interval": 30,
    "max_connections": 32,
    "timeout": TIMEOUT_SECONDS,  # for a connection of the pool
    # A new connection has one thing to say, not four.
    "protocol": 2,
    "driver_info": None,
    "maint_notifications_config": MaintNotificationsConfig(enabled=False),
}


class RedisUnavailable(Exception):
    """There is no Redis, or it does not answer; the cause says which."""


class Breaker:
    """Keeps callers from a part that failed: one try a second until one succeeds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._broken_at: float | None = None
        self._next_try_at = 0.0

    @property
    def is_broken(self) -> bool:
        return self._broken_at is not None

    def admits(self) -> bool:
        """Whether this caller may try. While broken, whoever is told so is the only one for a second."""
        if not self.is_broken:
            return True
        with self._lock:
            now = self._clock()
            if now < self._next_try_at:
                return False
            self._next_try_at = now + PAUSE_SECONDS
            return True

    def failed(self, error: Exception) -> None:
        with self._lock:
            now = self._clock()
            is_news, self._next_try_at = self._broken_at is None, now + PAUSE_SECONDS
            self._broken_at = now if self._broken_at is None else self._broken_at
        if is_news:
            log.error("redis lost: limits are kept by each process alone", exc_info=error)

    def succeeded(self) -> None:
        if not self.is_broken:
            return
        with self._lock:
            broken_at, self._broken_at = self._broken_at, None
        if broken_at is not None:
            seconds = round(self._clock() - broken_at, 1)
            log.warning("redis back: limits are shared again", seconds=seconds)


@dataclass(frozen=True)
class _Connected:
    client: redis.Redis
    breaker: Breaker


@functools.cache
def _connect(url: str) -> _Connected:
    pool = redis.BlockingConnectionPool.from_url(url, **OPTIONS)
    return _Connected(redis.Redis(connection_pool=pool), Breaker())


def call(command: Callable[[redis.Redis], Result]) -> Result:
    """What the command gets from Redis. Raises RedisUnavailable at once when the last try was a moment ago."""
    if not settings.REDIS_URL:
        raise RedisUnavailable
    connected = _connect(settings.REDIS_URL)
    if not connected.breaker.admits():
        raise RedisUnavailable
    try:
        if connected.breaker.is_broken:
            # A frozen Redis carries out later what it was sent, after we have given up on it.
            connected.client.ping()
        result = command(connected.client)
    except (redis.RedisError, OSError) as error:
        connected.breaker.failed(error)
        raise RedisUnavailable from error
    connected.breaker.succeeded()
    return result


def ping() -> None:
    """Raises what is wrong; nothing is wrong when no Redis is configured."""
    if settings.REDIS_URL:
        _connect(settings.REDIS_URL).client.ping()
