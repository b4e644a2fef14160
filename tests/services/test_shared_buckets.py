"""The script that takes from buckets in Redis: the same arithmetic as in the process, and all or none."""

import time

import pytest
from redis import Redis

from gateway.rate_limits import shared
from gateway.rate_limits.buckets import TOKEN, Limit
from gateway.rate_limits.local import LocalBuckets
from tests.services.redis_server import RedisServer

pytestmark = pytest.mark.service

# Slow ones, so that nothing comes back while a test runs.
KEY, WORKSPACE = Limit("key", "{a}:key", 3), Limit("workspace", "{a}", 5)


@pytest.fixture
def client(redis: RedisServer) -> Redis:
    return Redis.from_url(redis.url)


def _admitted(client: Redis, *limits: Limit, calls: int = 20) -> int:
    return sum(shared.take(client, limits, [0] * len(limits))[0] for _ in range(calls))


class TestTake:
    def test_lets_the_burst_through_and_no_more(self, client: Redis) -> None:
        assert _admitted(client, KEY) == 3

    def test_takes_from_all_limits_or_from_none(self, client: Redis) -> None:
        assert _admitted(client, KEY, WORKSPACE) == 3
        assert _admitted(client, WORKSPACE) == 2
        assert _admitted(client, Limit("key", "{a}:another", 3), WORKSPACE) == 0
        assert _admitted(client, Limit("key", "{a}:another", 3)) == 3

    def test_lets_nothing_through_a_limit_of_zero(self, client: Redis) -> None:
        assert shared.take(client, [Limit("key", "{a}:none", 0)], [5]) == (False, [0])

    def test_gives_back_with_time(self, client: Redis) -> None:
        quick = Limit("key", "{a}:quick", 600)
        _admitted(client, quick, calls=quick.burst)

        time.sleep(0.5)

        assert 5 <= _admitted(client, quick) <= 20

    def test_tells_the_level_to_the_last_digit(self, client: Redis) -> None:
        large = Limit("key", "{a}:large", 60_000_000)

        assert shared.take(client, [large], [0]) == (True, [large.full - TOKEN])

    def test_agrees_with_the_buckets_of_a_process(self, client: Redis) -> None:
        """Limits of all sizes, emptied and read at moments that both can tell."""
        local = LocalBuckets()
        for per_minute in (1, 7, 11, 100, 599):
            limit = Limit("key", f"{{a}}:{per_minute}", per_minute)
            ours = sum(local.take([limit]).is_allowed for _ in range(limit.burst))

            assert _admitted(client, limit, calls=limit.burst) == ours == limit.burst

    def test_takes_what_is_owed_in_any_case(self, client: Redis) -> None:
        """Four of three are owed, so a call is refused, and one more than a minute's worth is missing."""
        is_allowed, (level,) = shared.take(client, [KEY], [4])

        assert (is_allowed, level) == (False, -TOKEN)

    def test_never_lets_a_debt_outgrow_the_bucket(self, client: Redis) -> None:
        assert shared.take(client, [KEY], [1_000]) == (False, [-KEY.full])

    def test_is_forgotten_when_it_is_full_again(self, client: Redis) -> None:
        _admitted(client, KEY, calls=1)

        assert 19_000 < client.pttl(KEY.bucket) <= 21_000

    def test_leaves_nothing_behind_when_it_refuses(self, client: Redis) -> None:
        _admitted(client, Limit("key", "{a}:none", 0), WORKSPACE)

        assert client.keys() == []

    def test_goes_on_with_a_redis_that_is_new(self, client: Redis, redis: RedisServer) -> None:
        _admitted(client, KEY)

        redis.kill()
        redis.start_again()

        assert _admitted(client, KEY) == 3
