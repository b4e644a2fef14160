"""Buckets of one process, under a clock that the test moves."""

from dataclasses import dataclass

import pytest

from gateway.rate_limits.buckets import SECOND, TOKEN, Limit
from gateway.rate_limits.local import LocalBuckets


@dataclass
class Clock:
    now: int = 0

    def __call__(self) -> int:
        return self.now


KEY, WORKSPACE = Limit("key", "a:key", 60), Limit("workspace", "a", 120)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def buckets(clock: Clock) -> LocalBuckets:
    return LocalBuckets(clock=clock)


def _admitted(buckets: LocalBuckets, *limits: Limit, calls: int = 1_000) -> int:
    return sum(buckets.take(limits).is_allowed for _ in range(calls))


class TestTake:
    def test_lets_exactly_the_burst_through_at_once(self, buckets: LocalBuckets) -> None:
        assert [buckets.take([KEY]).is_allowed for _ in range(11)] == [True] * 10 + [False]

    def test_lets_one_more_through_when_it_is_there_and_not_before(
        self, buckets: LocalBuckets, clock: Clock
    ) -> None:
        _admitted(buckets, KEY)

        clock.now = SECOND - 1
        assert not buckets.take([KEY]).is_allowed
        clock.now = SECOND
        assert [buckets.take([KEY]).is_allowed for _ in range(2)] == [True, False]

    def test_never_keeps_more_than_the_burst(self, buckets: LocalBuckets, clock: Clock) -> None:
        _admitted(buckets, KEY)

        clock.now = 3_600 * SECOND

        assert _admitted(buckets, KEY) == 10

    def test_lets_nothing_through_a_limit_of_zero(self, buckets: LocalBuckets, clock: Clock) -> None:
        nothing = Limit("key", "a:none", 0)
        taken = buckets.take([nothing])

        clock.now = 3_600 * SECOND

        assert not taken.is_allowed
        assert taken.binding.seconds_until_more == 3_600
        assert not buckets.take([nothing]).is_allowed

    def test_takes_from_all_limits_or_from_none(self, buckets: LocalBuckets) -> None:
        """The key's ten calls leave ten of the workspace's twenty, however often it calls."""
        assert _admitted(buckets, KEY, WORKSPACE) == 10

        assert _admitted(buckets, WORKSPACE) == 10
        assert not buckets.take([Limit("key", "another", 60), WORKSPACE]).is_allowed
        assert _admitted(buckets, Limit("key", "another", 60)) == 10

    def test_lets_no_more_than_the_limit_and_its_burst_through_in_a_minute(
        self, buckets: LocalBuckets, clock: Clock
    ) -> None:
        """There is no edge at which two windows' worth would meet."""
        admitted = 0
        for millisecond in range(60_000):
            clock.now = millisecond * 1_000
            admitted += buckets.take([WORKSPACE]).is_allowed

        assert 120 + 20 - 1 <= admitted <= 120 + 20

    def test_survives_a_clock_that_goes_back(self, buckets: LocalBuckets, clock: Clock) -> None:
        clock.now = 1_000 * SECOND
        _admitted(buckets, KEY)

        clock.now = 0
        assert not buckets.take([KEY]).is_allowed
        clock.now = SECOND
        assert buckets.take([KEY]).is_allowed

    def test_follows_a_limit_that_changes(self, buckets: LocalBuckets, clock: Clock) -> None:
        _admitted(buckets, KEY)

        clock.now = SECOND

        assert _admitted(buckets, Limit("key", KEY.bucket, 600)) == 10
        assert _admitted(buckets, Limit("key", KEY.bucket, 6)) == 0

    def test_forgets_the_longest_unused_of_too_many(self, clock: Clock) -> None:
        buckets = LocalBuckets(clock=clock, most=2)
        first, second, third = (Limit("key", name, 60) for name in "abc")
        _admitted(buckets, first)
        _admitted(buckets, second)

        buckets.take([third])

        assert _admitted(buckets, second) == 0
        assert _admitted(buckets, first) == 10


class TestWait:
    @pytest.mark.parametrize("per_minute", [1, 7, 59, 60, 61, 599, 600, 7_777])
    def test_that_is_told_is_never_too_short(self, clock: Clock, per_minute: int) -> None:
        limit = Limit("key", "a", per_minute)
        for moment in range(0, 3 * SECOND, 77_777):
            clock.now = 0
            buckets = LocalBuckets(clock=clock)
            _admitted(buckets, limit, calls=limit.burst)
            clock.now = moment
            _admitted(buckets, limit)

            clock.now += buckets.take([limit]).binding.seconds_until_more * SECOND

            assert buckets.take([limit]).is_allowed


class TestShare:
    @pytest.mark.parametrize("processes", [2, 4, 5])
    def test_of_all_processes_is_the_limit(self, clock: Clock, processes: int) -> None:
        fleet = [LocalBuckets(processes, clock) for _ in range(processes)]
        limit = Limit("workspace", "a", 1_200)

        at_once = sum(_admitted(one, limit) for one in fleet)
        clock.now = 5 * SECOND
        later = sum(_admitted(one, limit) for one in fleet)

        assert (at_once, later) == (200, 100)

    def test_is_at_least_one_request(self, clock: Clock) -> None:
        small = LocalBuckets(50, clock)

        assert _admitted(small, KEY) == 1

    def test_goes_on_from_what_redis_told(self, clock: Clock) -> None:
        half = LocalBuckets(2, clock)

        half.note(WORKSPACE, 6 * TOKEN)

        assert _admitted(half, WORKSPACE) == 3


class TestDebt:
    def test_is_what_was_let_through_without_redis(self, buckets: LocalBuckets) -> None:
        _admitted(buckets, KEY, calls=4)

        assert [buckets.pay(KEY), buckets.pay(KEY)] == [4, 0]

    def test_is_made_up_for_by_time(self, buckets: LocalBuckets, clock: Clock) -> None:
        _admitted(buckets, KEY, calls=4)

        clock.now = 3 * SECOND

        assert buckets.pay(KEY) == 1

    def test_is_kept_when_it_could_not_be_paid(self, buckets: LocalBuckets) -> None:
        _admitted(buckets, KEY, calls=4)

        buckets.owe(KEY, buckets.pay(KEY))

        assert buckets.pay(KEY) == 4

    def test_is_nobodys_who_was_not_seen(self, buckets: LocalBuckets) -> None:
        assert buckets.pay(KEY) == 0
