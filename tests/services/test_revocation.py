"""A key that was ended stops working everywhere within two seconds, whatever becomes of Redis."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.services.callers import ACCEPTED, Callers, Calls, callers
from tests.services.conftest import Fleet, start_fleet
from tests.services.redis_server import RedisServer, redis_server
from tests.services.web_process import web_process

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]

BOUND_SECONDS = 2.0
LOAD_SECONDS = 1.0  # calls before the key is ended
WATCHED_SECONDS = 2.5  # and after
SEED = """
import json
import django; django.setup()
from accounts import api_keys, workspaces
from accounts.key_terms import Terms
from accounts.models import Scope, Workspace
from accounts.roles import Role
from tests import factories
workspace = Workspace.objects.get()
bob = workspaces.add_member(workspace, factories.user("bob@example.com"), Role.MEMBER)
keys = {"manager": api_keys.issue(workspace, "manager", terms=Terms(scopes=tuple(Scope)))}
for name in ("revoked", "rotated", "leaked", "switched", "stale", "idle"):
    keys[name] = api_keys.issue(workspace, name)
keys["member's"] = api_keys.issue(workspace, "member's", membership=bob)
print(json.dumps({name: [api_keys.public_id(one.key), one.plain_text] for name, one in keys.items()}))
"""
REMOVE_MEMBER = """
import time
import django; django.setup()
from accounts import clock, workspaces
from accounts.models import Membership
workspaces.remove_member(Membership.objects.across_workspaces().get(role="member"), clock.now())
print("removed at", time.monotonic())
"""
Keys = dict[str, tuple[str, str]]  # id and text by name


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callers]:
    with callers(tmp_path_factory.mktemp("callers")) as started:
        yield started


@pytest.fixture(scope="module", params=["up", "frozen", "down"])
def served(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Fleet, Keys]]:
    """Two web processes that had a Redis when they started."""
    folder = tmp_path_factory.mktemp("revocation")
    with redis_server(folder) as redis, start_fleet(folder, REDIS_URL=redis.url) as fleet:
        keys = _seeded(fleet)
        for number in range(2):
            assert fleet.client(number).get("/api/v1/balance").status_code == ACCEPTED
        _strike(redis, request.param)
        yield fleet, keys


def _seeded(fleet: Fleet) -> Keys:
    keys: Keys = json.loads(fleet.run("-c", SEED).splitlines()[-1])
    return keys


def _strike(redis: RedisServer, what: str) -> None:
    {"up": lambda: None, "frozen": redis.freeze, "down": redis.kill}[what]()


def _revoke(fleet: Fleet, keys: Keys) -> float:
    return _answered(fleet, keys, "DELETE", f"/api/v1/keys/{keys['revoked'][0]}")


def _rotate(fleet: Fleet, keys: Keys) -> float:
    return _answered(fleet, keys, "POST", f"/api/v1/keys/{keys['rotated'][0]}/rotate", {"grace_seconds": 0})


def _report_leak(fleet: Fleet, keys: Keys) -> float:
    return _answered(fleet, keys, "POST", "/api/v1/key-leaks", {"key": keys["leaked"][1]})


def _answered(fleet: Fleet, keys: Keys, method: str, path: str, body: Any = None) -> float:
    with fleet.client(0, keys["manager"][1]) as client:
        answer = client.request(method, path, json=body)
    at = time.monotonic()
    assert answer.status_code in (200, 201), answer.text
    return at


def _remove_member(fleet: Fleet, keys: Keys) -> float:
    return float(fleet.run("-c", REMOVE_MEMBER).split("removed at ")[1].split()[0])


ENDINGS: dict[str, Callable[[Fleet, Keys], float]] = {
    "revoked": _revoke,
    "rotated": _rotate,
    "leaked": _report_leak,
    "member's": _remove_member,
}


def _end_under_load(
    clients: Callers, fleet: Fleet, keys: Keys, name: str, end: Callable[[Fleet, Keys], float]
) -> tuple[float, list[Calls]]:
    """Seconds from the answer of the ending call to the last accepted call, and all calls."""
    with clients.calling(fleet.base_urls, keys[name][1]) as calls:
        time.sleep(LOAD_SECONDS)
        ended_at = end(fleet, keys)
        time.sleep(WATCHED_SECONDS)
    return max(one.last_accepted_at for one in calls) - ended_at, calls


class TestEndedKey:
    @pytest.mark.parametrize("name", ENDINGS)
    def test_stops_everywhere_in_time(
        self,
        clients: Callers,
        served: tuple[Fleet, Keys],
        name: str,
        request: pytest.FixtureRequest,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        fleet, keys = served

        seconds, calls = _end_under_load(clients, fleet, keys, name, ENDINGS[name])

        with capsys.disabled():
            accepted = sum(one.statuses[ACCEPTED] for one in calls)
            print(f"\n{request.node.name}: last of {accepted} accepted calls {seconds:+.2f} s after the end")
        assert seconds < BOUND_SECONDS
        assert all(set(one.statuses) == {ACCEPTED, 401} for one in calls)

    @pytest.mark.parametrize("served", ["up"], indirect=True)
    def test_is_found_by_this_test_when_it_goes_on(
        self, clients: Callers, served: tuple[Fleet, Keys]
    ) -> None:
        """With one web process that never looks whether keys have changed."""
        fleet, keys = served
        environment = {**fleet.environment, "DATABASE_URL": fleet.web_database}
        with web_process(environment, "tests.services.bad_variants:stale_keys") as stale:
            faulty = Fleet((fleet.base_urls[0], stale.base_url), fleet.key, fleet.environment, "")

            def end(fleet: Fleet, keys: Keys) -> float:
                return _answered(fleet, keys, "DELETE", f"/api/v1/keys/{keys['stale'][0]}")

            seconds, _ = _end_under_load(clients, faulty, keys, "stale", end)

        assert seconds >= BOUND_SECONDS


class TestLastUse:
    @pytest.mark.parametrize("served", ["up"], indirect=True)
    def test_is_written_by_a_web_process_that_stops(self, served: tuple[Fleet, Keys]) -> None:
        """Under the web role, which row-level security binds."""
        fleet, keys = served
        with web_process({**fleet.environment, "DATABASE_URL": fleet.web_database}) as web:
            alone = Fleet((web.base_url,), fleet.key, fleet.environment, fleet.web_database)
            with alone.client(0, keys["idle"][1]) as client:
                assert client.get("/api/v1/key").json()["last_used_at"] is None

        with fleet.client(0, keys["idle"][1]) as client:
            assert client.get("/api/v1/key").json()["last_used_at"] is not None


class TestRotationWithGrace:
    def test_fails_no_request_while_clients_switch(
        self, clients: Callers, served: tuple[Fleet, Keys]
    ) -> None:
        fleet, keys = served
        with clients.calling(fleet.base_urls, keys["switched"][1]) as calls:
            time.sleep(LOAD_SECONDS)
            with fleet.client(0, keys["manager"][1]) as manager:
                path = f"/api/v1/keys/{keys['switched'][0]}/rotate"
                new = manager.post(path, json={"grace_seconds": 60}).json()["key"]
            clients.use(new)
            time.sleep(LOAD_SECONDS)

        assert [set(one.statuses) for one in calls] == [{ACCEPTED}] * len(calls)
        assert all(one.after_switching[ACCEPTED] for one in calls)
