"""Limits that two web processes share through Redis, and what holds while it is frozen or gone."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from gateway.redis_client import PAUSE_SECONDS
from tests.services.conftest import Fleet, start_fleet
from tests.services.redis_server import RedisServer, redis_server

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]

PER_MINUTE, BURST, PER_SECOND = 600, 100, 10
CLIENTS_PER_PROCESS = 2
GUARD_PER_MINUTE = 30
KEY = f"""
import django; django.setup()
from accounts import api_keys
from accounts.key_terms import Terms
from accounts.models import Workspace
terms = Terms(requests_per_minute={PER_MINUTE})
print(api_keys.issue(Workspace.objects.get(), "limited", terms=terms).plain_text)
"""


@dataclass
class Limited:
    """A fleet behind one proxy, its Redis, its log, and a key with a limit."""

    fleet: Fleet
    redis: RedisServer
    log: Path
    key: str
    lines_before: int

    def events(self, name: str) -> int:
        """Lines of this test that begin so."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()[self.lines_before :]]
        return sum(line["event"].startswith(name) for line in lines)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Fleet, RedisServer, Path]]:
    folder = tmp_path_factory.mktemp("limited")
    with redis_server(folder) as redis:
        environment = {
            "REDIS_URL": redis.url,
            "ATELIER_WEB_PROCESSES": "2",
            "ATELIER_TRUSTED_PROXIES": "1",
            "ATELIER_DISPATCH": "celery",
            "ATELIER_LOG_FILE": str(folder / "log"),
        }
        with start_fleet(folder, **environment) as fleet:
            yield fleet, redis, folder / "log"


@pytest.fixture
def limited(shared: tuple[Fleet, RedisServer, Path]) -> Iterator[Limited]:
    """The shared fleet with a key of the test's own; Redis answers at its beginning."""
    fleet, redis, log = shared
    key = fleet.run("-c", KEY).strip()
    for number in range(len(fleet.base_urls)):
        with fleet.client(number) as client:
            assert client.get("/api/v1/models").status_code == 200
    yield Limited(fleet, redis, log, key, len(log.read_text().splitlines()))
    redis.thaw()
    if redis.process.poll() is not None:
        redis.start_again()
    time.sleep(PAUSE_SECONDS)  # so that the next test's first call finds it


@dataclass(frozen=True)
class Call:
    at: float
    seconds: float
    status: int


class Storm:
    """Clients of all processes that call as fast as they can, until told to stop.

    Their bodies are not valid: that is found after the limit has let a call through, and makes nothing.
    """

    def __init__(self, limited: Limited) -> None:
        self.calls: list[Call] = []
        self.started = time.monotonic()
        self._limited, self._over = limited, threading.Event()
        numbers = [number for number in range(2) for _ in range(CLIENTS_PER_PROCESS)]
        self._pool = ThreadPoolExecutor(len(numbers))
        self._runs = [self._pool.submit(self._run, number) for number in numbers]

    def _run(self, number: int) -> None:
        with self._limited.fleet.client(number, self._limited.key) as client:
            while not self._over.is_set():
                begun = time.monotonic()
                status = client.post("/api/v1/generations", json={}).status_code
                self.calls.append(Call(begun, time.monotonic() - begun, status))

    def end(self) -> None:
        self._over.set()
        for run in self._runs:
            run.result()
        self._pool.shutdown()

    def between(self, begin: float, end: float) -> list[Call]:
        return [call for call in self.calls if begin <= call.at < end]


def _admitted(calls: list[Call]) -> int:
    assert {call.status for call in calls} <= {422, 429}
    return sum(call.status == 422 for call in calls)


def _p99(calls: list[Call]) -> float:
    return sorted(call.seconds for call in calls)[int(len(calls) * 0.99)]


def _outage(
    limited: Limited, begin: Callable[[], None], end: Callable[[], None]
) -> tuple[Storm, float, float]:
    """A storm of 4 s with Redis, 5 s without, and 5 s with it again."""
    storm = Storm(limited)
    time.sleep(4)
    begin()
    begun = time.monotonic()
    time.sleep(5)
    end()
    ended = time.monotonic()
    time.sleep(5)
    storm.end()
    return storm, begun, ended


def _report(name: str, admitted: int, seconds: float, *, bursts: int) -> float:
    """How much of what the limit grants in the time was let through."""
    limit = BURST + PER_SECOND * seconds
    print(
        f"\n{name}: {admitted} admitted, limit {limit:.0f} in {seconds:.1f} s, ratio {admitted / limit:.3f}"
    )
    return admitted / (limit + BURST * (bursts - 1))


class TestWithRedis:
    def test_bursts_of_two_processes_stay_within_one_limit(self, limited: Limited) -> None:
        """Three bursts with pauses between: at no edge two of them meet."""
        admitted, started = 0, time.monotonic()
        for pause in (2, 3, 0):
            storm = Storm(limited)
            time.sleep(1.5)
            storm.end()
            admitted += _admitted(storm.calls)
            time.sleep(pause)

        ratio = _report("bursts", admitted, time.monotonic() - started, bursts=1)

        assert 0.5 < ratio <= 1.05
        assert limited.events("redis") == 0


class TestFrozenRedis:
    def test_neither_opens_nor_closes_nor_slows_the_limit(self, limited: Limited) -> None:
        storm, begun, ended = _outage(limited, limited.redis.freeze, limited.redis.thaw)

        seconds = max(call.at + call.seconds for call in storm.calls) - storm.started
        bounded = _report("frozen", _admitted(storm.calls), seconds, bursts=2)
        before, frozen = storm.between(storm.started + 1, begun), storm.between(begun, ended)
        print(f"p99 {_p99(before) * 1000:.0f} ms before, {_p99(frozen) * 1000:.0f} ms frozen")
        assert bounded <= 1.05
        assert _admitted(frozen) >= PER_SECOND * 5 * 0.5
        assert _p99(frozen) <= _p99(before) + 0.3
        assert (limited.events("redis lost"), limited.events("redis back")) == (2, 2)


class TestKilledRedis:
    def test_neither_opens_nor_closes_the_limit(self, limited: Limited) -> None:
        storm, begun, ended = _outage(limited, limited.redis.kill, limited.redis.start_again)

        seconds = max(call.at + call.seconds for call in storm.calls) - storm.started
        bounded = _report("killed", _admitted(storm.calls), seconds, bursts=2)
        assert bounded <= 1.05
        assert _admitted(storm.between(begun, ended)) >= PER_SECOND * 5 * 0.5
        assert (limited.events("redis lost"), limited.events("redis back")) == (2, 2)

    def test_is_named_and_served_without(self, limited: Limited) -> None:
        limited.redis.kill()

        answers = [httpx.get(f"{url}/readyz", trust_env=False) for url in limited.fleet.base_urls]

        assert {answer.status_code for answer in answers} == {200}
        assert [answer.json()["degraded"] for answer in answers] == [{"redis": "ConnectionError"}] * 2


class TestUnknownKeys:
    def test_are_counted_by_all_processes_together(self, limited: Limited) -> None:
        """The smaller of two addresses' counts, because the minute of one of them may have just ended."""
        refused = min(self._refused(limited, address) for address in ("198.51.100.1", "198.51.100.2"))

        assert refused == GUARD_PER_MINUTE

    def test_are_counted_by_each_process_without_redis(self, limited: Limited) -> None:
        limited.redis.kill()

        refused = min(self._refused(limited, address) for address in ("198.51.100.3", "198.51.100.4"))

        print(f"\nunknown keys without Redis: {refused} of {GUARD_PER_MINUTE} a minute by 2 processes")
        assert refused == 2 * GUARD_PER_MINUTE

    def test_are_refused_no_slower_by_a_frozen_redis(self, limited: Limited) -> None:
        limited.redis.freeze()

        started = time.monotonic()
        refused = self._refused(limited, "198.51.100.5")

        assert 2 * GUARD_PER_MINUTE <= refused <= 4 * GUARD_PER_MINUTE
        assert time.monotonic() - started < 15  # 100 waits of 0.1 s alone would be 10

    def _refused(self, limited: Limited, address: str) -> int:
        """Of 100 calls with a wrong key, how many were told so before the guard stepped in."""
        statuses = []
        for number in range(2):
            with limited.fleet.client(number, "atl_live_wrong") as client:
                client.headers["X-Forwarded-For"] = f"10.0.0.1, {address}"
                statuses += [client.get("/api/v1/models").status_code for _ in range(50)]
        assert set(statuses) <= {401, 429}
        return statuses.count(401)
