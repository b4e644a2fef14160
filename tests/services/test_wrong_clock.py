"""The clock of a web machine is wrong by ten minutes, and nobody notices: all times are the database's."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import psycopg
import pytest

from tests.services.conftest import Fleet, start_fleet
from tests.services.web_process import web_process

pytestmark = [pytest.mark.service, pytest.mark.timeout(180)]

CLOSE = timedelta(seconds=30)
# Keys that end soon and keys that ended a little ago, by less than the clock is wrong.
KEYS = """
import django; django.setup()
from datetime import timedelta
from accounts import api_keys, clock
from accounts.key_terms import Terms
from accounts.models import Workspace
workspace = Workspace.objects.get(name="Race")
for minutes in (5, -5):
    terms = Terms(expires_at=clock.now() + timedelta(minutes=minutes))
    print(api_keys.issue(workspace, f"{minutes}", terms=terms).plain_text)
"""
PICTURE = """
import django; django.setup()
from inference import relay, runner
from inference.models import Job
for job in Job.objects.across_workspaces().filter(state="queued"):
    runner.run(job.pk, "worker")
"""


@pytest.fixture(scope="module", params=[10, -10], ids=["fast", "slow"])
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Fleet, str]]:
    """A fleet, and the address of its one web process with the wrong clock."""
    with start_fleet(tmp_path_factory.mktemp("wrong_clock"), web_processes=0) as fleet:
        environment = {
            **fleet.environment,
            "DATABASE_URL": fleet.web_database,
            "WRONG_CLOCK_MINUTES": str(request.param),
        }
        with web_process(environment, "tests.services.wrong_clock:application") as web:
            yield fleet, web.base_url


def _client(base_url: str, key: str) -> httpx.Client:
    return httpx.Client(
        base_url=base_url, headers={"Authorization": f"Bearer {key}"}, timeout=60, trust_env=False
    )


def _database_now(fleet: Fleet) -> datetime:
    with psycopg.connect(fleet.environment["DATABASE_URL"]) as connection:
        row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    now: datetime = row[0]
    return now


class TestWrongClock:
    def test_ends_no_key_early_and_none_late(self, world: tuple[Fleet, str]) -> None:
        fleet, base_url = world
        ends_soon, has_ended = fleet.run("-c", KEYS).split()

        answers = [_client(base_url, key).get("/api/v1/balance") for key in (ends_soon, has_ended)]

        assert [answer.status_code for answer in answers] == [200, 401]
        assert answers[1].json()["code"] == "expired_api_key"

    def test_dates_jobs_by_the_database(self, world: tuple[Fleet, str]) -> None:
        fleet, base_url = world

        with _client(base_url, fleet.key) as client:
            job = client.post("/api/v1/generations", json={"prompt": "a red boat"}).json()

        assert abs(datetime.fromisoformat(job["created_at"]) - _database_now(fleet)) < CLOSE

    def test_signs_addresses_that_hold_for_their_time(self, world: tuple[Fleet, str]) -> None:
        fleet, base_url = world
        with _client(base_url, fleet.key) as client:
            job = client.post("/api/v1/generations", json={"prompt": "a red boat"}).json()
            fleet.run("-c", PICTURE)
            (image,) = client.get(f"/api/v1/jobs/{job['id']}").json()["images"]

            address = urlsplit(image["url"])
            opened = client.get(f"{address.path}?{address.query}")

        expires = float(parse_qs(address.query)["expires"][0])
        assert opened.status_code == 200
        assert abs(expires - (_database_now(fleet) + timedelta(hours=1)).timestamp()) < CLOSE.total_seconds()

    def test_counts_quotas_in_the_databases_period(self, world: tuple[Fleet, str]) -> None:
        fleet, base_url = world
        limit = {"subject": "workspace", "unit": "images", "window": "day", "limit": 10_000}
        admin = fleet.run("-c", ADMIN).split()[-1]

        with _client(base_url, admin) as client:
            state = client.put("/api/v1/quotas", json=limit).json()

        left = datetime.fromisoformat(state["resets_at"]) - _database_now(fleet)
        assert timedelta() <= left + CLOSE
        assert left <= timedelta(days=1)


ADMIN = """
import django; django.setup()
from accounts import api_keys
from accounts.key_terms import Terms
from accounts.models import Scope, Workspace
workspace = Workspace.objects.get(name="Race")
print(api_keys.issue(workspace, "admin", terms=Terms(scopes=tuple(Scope))).plain_text)
"""
