"""The races find the faults that they are there to find: each runs against a web process with one planted."""

import contextlib
from collections.abc import Iterator

import psycopg
import pytest

from tests.services import racers as racing
from tests.services.conftest import Fleet, start_fleet
from tests.services.racers import CLIENTS, Answer, Racers, each_sends, outcomes
from tests.services.web_process import PRODUCT, web_process
from tests.services.workspaces import Room, open_rooms

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]

VARIANTS = "tests.services.bad_variants"
PRICE = 10
ROOMS, FIT = 20, 2  # workspaces of a race, and images that each has room for
# What would turn the damage into an error of the database: it is to be seen in the books.
DROP_CHECKS = """
    ALTER TABLE billing_balance
        DROP CONSTRAINT balance_available_not_negative, DROP CONSTRAINT balance_held_not_negative,
        DROP CONSTRAINT balance_holds_not_negative;
    ALTER TABLE billing_grant
        DROP CONSTRAINT grant_remaining_not_negative, DROP CONSTRAINT grant_held_not_negative,
        DROP CONSTRAINT grant_gives_no_more_than_amount"""
DROP_UNIQUE_KEYS = "ALTER TABLE inference_idempotencyrecord DROP CONSTRAINT idempotency_key_once_per_endpoint"


@pytest.fixture(scope="module")
def racers() -> Iterator[Racers]:
    with racing.racers() as started:
        yield started


@pytest.fixture(scope="module")
def unguarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A database whose constraints do not stop the damage, for web processes that each test starts."""
    with start_fleet(tmp_path_factory.mktemp("variants"), web_processes=0) as fleet:
        with psycopg.connect(fleet.environment["DATABASE_URL"]) as connection:
            connection.execute(DROP_CHECKS)
            connection.execute(DROP_UNIQUE_KEYS)
        yield fleet


@pytest.fixture(scope="module")
def rooms(unguarded: Fleet) -> dict[str, list[Room]]:
    """For each race many workspaces with a tight limit, because faults show where a limit is reached."""
    tight = {
        "exact": {"credits": FIT * PRICE},
        "credit_by_saving": {"credits": FIT * PRICE},
        "credit_by_summing": {"credits": FIT * PRICE},
        "concurrency": {"concurrent_jobs": FIT},
        "quota_by_saving": {},
    }
    specs = [{"name": f"{name} {n}", **limits} for name, limits in tight.items() for n in range(ROOMS)]
    opened = open_rooms(unguarded, *specs)
    return {name: [opened[f"{name} {n}"] for n in range(ROOMS)] for name in tight}


@contextlib.contextmanager
def _serving(fleet: Fleet, application: str) -> Iterator[Fleet]:
    """The fleet with two web processes of that application."""
    environment = {**fleet.environment, "DATABASE_URL": fleet.web_database}
    with web_process(environment, application) as one, web_process(environment, application) as other:
        yield Fleet((one.base_url, other.base_url), fleet.key, fleet.environment, fleet.web_database)


class TestRaces:
    def test_find_nothing_in_the_product(
        self, unguarded: Fleet, racers: Racers, rooms: dict[str, list[Room]]
    ) -> None:
        """Also without the constraints: it is the code that is right, they are the second wall."""
        with _serving(unguarded, PRODUCT) as fleet:
            answers = _race(fleet, racers, rooms["exact"])

        refused = ROOMS * (CLIENTS - FIT)
        assert outcomes(answers) == {"202": ROOMS * FIT, "402 insufficient_credit": refused}

    @pytest.mark.parametrize("fault", ["credit_by_saving", "credit_by_summing"])
    def test_find_credit_that_is_spent_twice(
        self, unguarded: Fleet, racers: Racers, rooms: dict[str, list[Room]], fault: str
    ) -> None:
        with _serving(unguarded, f"{VARIANTS}:{fault}") as fleet:
            answers = _race(fleet, racers, rooms[fault])

        assert racing.accepted_images(answers) > ROOMS * FIT
        assert "The ledger is clean." not in fleet.manage("verify_ledger")

    def test_find_jobs_beyond_the_concurrency_limit(
        self, unguarded: Fleet, racers: Racers, rooms: dict[str, list[Room]]
    ) -> None:
        with _serving(unguarded, f"{VARIANTS}:credit_by_saving") as fleet:
            answers = _race(fleet, racers, rooms["concurrency"])

        assert racing.accepted_images(answers) > ROOMS * FIT

    def test_find_a_quota_that_is_exceeded(
        self, unguarded: Fleet, racers: Racers, rooms: dict[str, list[Room]]
    ) -> None:
        with _serving(unguarded, f"{VARIANTS}:quota_by_saving") as fleet:
            for room in rooms["quota_by_saving"]:
                room.limit(fleet, subject="workspace", unit="images", window="day", limit=FIT)
            answers = _race(fleet, racers, rooms["quota_by_saving"])

        assert racing.accepted_images(answers) > ROOMS * FIT

    def test_find_twins_of_one_idempotency_key(self, unguarded: Fleet, racers: Racers) -> None:
        """Without the unique key in the database, looking first is not enough."""
        room = open_rooms(unguarded, {"name": "twins"})["twins"]
        orders = [room.order(idempotency_key=f"key-{number}") for number in range(ROOMS)]
        with _serving(unguarded, PRODUCT) as fleet:
            answers = racers.race(fleet.base_urls, each_sends(*orders))

        assert set(outcomes(answers)) == {"202"}
        assert len({answer.body["id"] for answer in answers}) > len(orders)


def _race(fleet: Fleet, racers: Racers, rooms: list[Room]) -> list[Answer]:
    """All clients post to all workspaces in the same order, so that they meet at each."""
    return racers.race(fleet.base_urls, each_sends(*(room.order() for room in rooms)))
