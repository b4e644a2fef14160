"""How a limit fills its bucket and what is told of it."""

import pytest

from gateway.rate_limits.buckets import NEVER_SECONDS, TOKEN, Limit, Standing, Taken, standing


def _limit(per_minute: int) -> Limit:
    return Limit("key", "a", per_minute)


class TestBurst:
    @pytest.mark.parametrize(
        ("per_minute", "burst"),
        [(0, 0), (1, 1), (9, 9), (10, 10), (60, 10), (66, 11), (600, 100), (3_000, 500)],
    )
    def test_is_ten_seconds_worth_at_least_ten(self, per_minute: int, burst: int) -> None:
        assert _limit(per_minute).burst == burst


class TestWait:
    def test_is_rounded_up_to_whole_seconds(self) -> None:
        limit = _limit(60)

        assert limit.seconds_until(0, TOKEN) == 1
        assert limit.seconds_until(1, TOKEN) == 1
        assert limit.seconds_until(-1, TOKEN) == 2
        assert limit.seconds_until(TOKEN, TOKEN) == 0

    def test_of_a_limit_of_zero_says_to_come_back_much_later(self) -> None:
        assert _limit(0).seconds_until(0, TOKEN) == NEVER_SECONDS


class TestStanding:
    def test_of_a_full_bucket_promises_nothing_more(self) -> None:
        limit = _limit(60)

        assert standing(limit, limit.full, limit.full) == Standing(limit, 10, 0)

    def test_counts_whole_requests(self) -> None:
        limit = _limit(60)

        assert standing(limit, 3 * TOKEN - 1, limit.full) == Standing(limit, 2, 1)

    def test_of_a_bucket_in_debt_counts_none(self) -> None:
        limit = _limit(60)

        assert standing(limit, -4 * TOKEN, limit.full) == Standing(limit, 0, 5)


class TestBinding:
    def test_is_the_empty_limit_that_takes_longest(self) -> None:
        quick, slow, full = _limit(600), _limit(6), _limit(1)
        taken = Taken(False, (Standing(quick, 0, 1), Standing(slow, 0, 10), Standing(full, 1, 60)))

        assert taken.binding.limit == slow
