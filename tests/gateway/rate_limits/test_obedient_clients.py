"""Clients that wait as the answers tell them, simulated on a clock that only the test moves."""

import heapq
import itertools
import random
from dataclasses import dataclass, field

import pytest

from gateway.rate_limits.buckets import SECOND, Limit, Taken
from gateway.rate_limits.local import LocalBuckets

MINUTES = 5


@dataclass
class Client:
    """Calls as fast as its answers allow: at once while `r` is not 0, else after `t` seconds, or after Retry-After."""

    limits: list[Limit]
    calls: list[tuple[int, bool]] = field(default_factory=list)

    def wait_after(self, taken: Taken) -> int:
        empty = [one.seconds_until_more for one in taken.standings if one.remaining == 0]
        return max(empty, default=0) * SECOND


def _simulate(clients: list[Client], dice: random.Random) -> None:
    now = 0
    buckets = LocalBuckets(clock=lambda: now)
    order = itertools.count()
    due = [(dice.randrange(SECOND), next(order), client) for client in clients]
    heapq.heapify(due)
    while (now := due[0][0]) < MINUTES * 60 * SECOND:
        _, _, client = heapq.heappop(due)
        taken = buckets.take(client.limits)
        client.calls.append((now, taken.is_allowed))
        latency = dice.randrange(1, 50_000)
        heapq.heappush(due, (now + client.wait_after(taken) + latency, next(order), client))


def _refused(client: Client) -> int:
    return sum(not is_allowed for _, is_allowed in client.calls)


def _admitted(clients: list[Client]) -> int:
    return sum(is_allowed for client in clients for _, is_allowed in client.calls)


@pytest.fixture(params=range(5))
def dice(request: pytest.FixtureRequest) -> random.Random:
    return random.Random(request.param)


class TestObedientClient:
    def test_is_never_refused_on_a_key_of_its_own(self, dice: random.Random) -> None:
        """Keys of all speeds share a workspace that grants their sum."""
        speeds = [1, 7, 60, 100, 333, 600]
        workspace = Limit("workspace", "a", sum(speeds) + 60)
        clients = [Client([Limit("key", f"a:{speed}", speed), workspace]) for speed in speeds]

        _simulate(clients, dice)

        assert [_refused(client) for client in clients] == [0] * len(speeds)

    def test_gets_what_its_limit_grants(self, dice: random.Random) -> None:
        """Waiting whole seconds costs nothing, because what has come meanwhile may be used at once."""
        clients = [Client([Limit("key", f"a:{speed}", speed)]) for speed in (60, 100, 333, 600)]

        _simulate(clients, dice)

        for client in clients:
            granted = client.limits[0].per_minute * MINUTES
            assert granted * 0.95 <= _admitted([client]) <= granted + client.limits[0].burst


class TestClientsOfOneBucket:
    """Each may find taken by another what it was told of. Then it is told anew, and nothing is lost meanwhile."""

    def test_get_together_what_the_limit_grants(self, dice: random.Random) -> None:
        limit = Limit("workspace", "a", 300)
        clients = [Client([limit]) for _ in range(8)]

        _simulate(clients, dice)

        granted = limit.per_minute * MINUTES
        assert granted * 0.95 <= _admitted(clients) <= granted + limit.burst

    def test_all_come_to_their_turn(self, dice: random.Random) -> None:
        clients = [Client([Limit("workspace", "a", 300)]) for _ in range(8)]

        _simulate(clients, dice)

        assert min(_admitted([client]) for client in clients) >= 300 * MINUTES / 8 / 2
