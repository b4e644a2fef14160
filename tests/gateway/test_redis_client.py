"""Redis is never needed and never waited for. What happens with a real one is in tests/services/test_rate_limits.py."""

import logging
from dataclasses import dataclass
from typing import Any

import pytest

from gateway import redis_client
from gateway.redis_client import Breaker, RedisUnavailable
from tests.flows.processes import free_port


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock)


def _events(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    messages = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    return [(message["level"], message["event"].partition(":")[0]) for message in messages]


class TestBreaker:
    def test_admits_everybody_until_a_failure(self, breaker: Breaker) -> None:
        assert [breaker.admits() for _ in range(3)] == [True] * 3

    def test_admits_nobody_for_a_second_after_one(self, breaker: Breaker, clock: Clock) -> None:
        breaker.failed(ConnectionError())

        assert not breaker.admits()
        clock.now += 0.99
        assert not breaker.admits()

    def test_then_admits_one_at_a_time(self, breaker: Breaker, clock: Clock) -> None:
        breaker.failed(ConnectionError())
        clock.now += 1

        assert [breaker.admits() for _ in range(3)] == [True, False, False]
        clock.now += 1
        assert [breaker.admits() for _ in range(3)] == [True, False, False]

    def test_admits_everybody_after_a_success(self, breaker: Breaker, clock: Clock) -> None:
        breaker.failed(ConnectionError())
        clock.now += 1
        assert breaker.admits()

        breaker.succeeded()

        assert [breaker.admits() for _ in range(3)] == [True] * 3

    def test_raises_one_alarm_for_an_outage(self, breaker: Breaker, caplog: pytest.LogCaptureFixture) -> None:
        for _ in range(3):
            breaker.failed(ConnectionError())
        for _ in range(3):
            breaker.succeeded()

        assert _events(caplog) == [("error", "redis lost"), ("warning", "redis back")]

    def test_is_quiet_when_all_is_well(self, breaker: Breaker, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)

        breaker.succeeded()

        assert _events(caplog) == []


class TestCall:
    def test_without_redis_is_refused_quietly(self, settings: Any, caplog: pytest.LogCaptureFixture) -> None:
        settings.REDIS_URL = ""

        with pytest.raises(RedisUnavailable):
            redis_client.call(lambda redis: redis.ping())

        assert _events(caplog) == []

    def test_to_nobody_is_tried_once_and_then_not_for_a_while(
        self, settings: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
        reached = []

        for _ in range(3):
            with pytest.raises(RedisUnavailable):
                redis_client.call(lambda redis: reached.append(1) or redis.ping())

        assert len(reached) == 1
        assert _events(caplog) == [("error", "redis lost")]


class TestPing:
    def test_finds_nothing_wrong_where_none_is_configured(self, settings: Any) -> None:
        settings.REDIS_URL = ""

        redis_client.ping()
