"""Counting without Redis; with one it is in tests/services/test_rate_limits.py."""

from typing import Any

import pytest

from gateway.api.guard_cache import SharedCounts
from tests.flows.processes import free_port


@pytest.fixture(params=["none", "nobody answers"])
def counts(request: pytest.FixtureRequest, settings: Any) -> SharedCounts:
    if request.param == "nobody answers":
        settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    made = SharedCounts(f"test {request.param}", {})
    made.clear()
    return made


class TestCounts:
    def test_begin_once(self, counts: SharedCounts) -> None:
        assert [counts.add("a", 1, 60), counts.add("a", 1, 60)] == [True, False]

    def test_rise(self, counts: SharedCounts) -> None:
        counts.add("a", 1, 60)

        assert [counts.incr("a"), counts.incr("a"), counts.incr("b")] == [2, 3, 1]

    def test_go_on_when_redis_had_begun_them(self, counts: SharedCounts) -> None:
        """The process has never seen this one, and must neither fail nor refuse."""
        assert [counts.incr("begun-elsewhere"), counts.incr("begun-elsewhere")] == [1, 2]
