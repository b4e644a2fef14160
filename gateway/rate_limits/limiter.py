"""Taking a request from its limits, with Redis or without.

While Redis answers, all web processes together let through what one bucket does: per bucket the limit, and its burst
once. While it does not, each process goes on with its share (`local`), by the number of processes that
`ATELIER_WEB_PROCESSES` declares: together at most the limit and one more burst for each outage, where a burst is at
least one request a process. Never without limit, and never closed.
"""

import functools
from collections.abc import Sequence

from django.conf import settings

from gateway import redis_client
from gateway.rate_limits import shared
from gateway.rate_limits.buckets import Limit, Taken, standing
from gateway.rate_limits.local import LocalBuckets
from gateway.redis_client import RedisUnavailable


def take(limits: Sequence[Limit]) -> Taken:
    """One request from all of the limits, or from none if one of them has nothing left."""
    local = _local(settings.WEB_PROCESSES)
    if not settings.REDIS_URL:
        return local.take(limits)
    owed = [local.pay(limit) for limit in limits]
    try:
        is_allowed, levels = redis_client.call(lambda client: shared.take(client, limits, owed))
    except RedisUnavailable:
        for limit, requests in zip(limits, owed, strict=True):
            local.owe(limit, requests)
        return local.take(limits)
    return _shared_taken(local, limits, is_allowed, levels)


def _shared_taken(
    local: LocalBuckets, limits: Sequence[Limit], is_allowed: bool, levels: Sequence[int]
) -> Taken:
    pairs = list(zip(limits, levels, strict=True))
    for limit, level in pairs:
        local.note(limit, level)
    return Taken(is_allowed, tuple(standing(limit, level, limit.full) for limit, level in pairs))


@functools.cache
def _local(processes: int) -> LocalBuckets:
    return LocalBuckets(processes)
