"""Many client processes, two web processes, one workspace: nothing is overspent and nothing is done twice."""

import contextlib
import itertools
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import psycopg
import pytest

from tests.flows.processes import ROOT
from tests.services import racers as racing
from tests.services.conftest import Fleet, start_fleet
from tests.services.racers import CLIENTS, Answer, Order, Racers, each_sends, outcomes
from tests.services.web_process import web_process
from tests.services.workspaces import Room, open_rooms

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]

PRICE = 10
KINDS = list(
    itertools.product(
        ["workspace", "member", "key", "end_user"], ["images", "credits"], ["day", "month", "total"]
    )
)
# With one image a post and with three: 20 fit, or 6 with 2 left over.
IMAGES, IMAGES_IN_CREDITS = 20, 205
# Each client posts each idempotency key so often. The long form is 7: more than 50 posts of a key, 80 s.
POSTS_OF_A_KEY = int(os.environ.get("ATELIER_TEST_POSTS_OF_A_KEY", "1"))


@pytest.fixture(scope="module")
def racers() -> Iterator[Racers]:
    with racing.racers() as started:
        yield started


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One fleet for many workspaces. After all races its books are in order."""
    with start_fleet(tmp_path_factory.mktemp("races")) as fleet:
        yield fleet
        assert "The ledger is clean." in fleet.manage("verify_ledger")


@pytest.fixture(scope="module")
def rooms(shared: Fleet) -> dict[str, Room]:
    """A workspace for each race, by name."""
    kinds = [{"name": "-".join(kind)} for kind in KINDS]
    others = [
        {"name": "credit 1", "credits": 1_000},
        {"name": "credit 3", "credits": 1_000},
        {"name": "concurrency", "concurrent_jobs": 37},
        {"name": "credit first", "credits": 255, "concurrent_jobs": 60},
        {"name": "quota first", "credits": 1_000, "concurrent_jobs": 60},
        {"name": "concurrency first", "credits": 1_000, "concurrent_jobs": 25},
        {"name": "set"},
        {"name": "raised"},
        {"name": "lowered"},
        {"name": "each end user"},
        {"name": "keys"},
        {"name": "bodies"},
        {"name": "killed"},
        {"name": "long keys"},
    ]
    return open_rooms(shared, *kinds, *others)


class TestCredit:
    @pytest.mark.parametrize("num_images", [1, 3])
    def test_is_never_overspent(
        self, shared: Fleet, racers: Racers, rooms: dict[str, Room], num_images: int
    ) -> None:
        room, posts = rooms[f"credit {num_images}"], 50
        affordable = 1_000 // (PRICE * num_images)

        answers = racers.race(shared.base_urls, each_sends(room.order(num_images), times=posts))

        refused = CLIENTS * posts - affordable
        assert outcomes(answers) == {"202": affordable, "402 insufficient_credit": refused}
        held = affordable * num_images * PRICE
        assert room.get(shared, "/balance") == {
            "available_credits": 1_000 - held,
            "held_credits": held,
            "debt_credits": 0,
            "unfinished_jobs": affordable,
        }


class TestQuota:
    @pytest.mark.parametrize("subject, unit, window", KINDS)
    def test_is_never_exceeded(
        self, shared: Fleet, racers: Racers, rooms: dict[str, Room], subject: str, unit: str, window: str
    ) -> None:
        """Three images a post first, so that some of the quota is left that only single ones fit into."""
        room = rooms[f"{subject}-{unit}-{window}"]
        limit, each = (IMAGES, 1) if unit == "images" else (IMAGES_IN_CREDITS, PRICE)
        kind = {"subject": subject, "unit": unit, "window": window}
        room.limit(shared, **kind, limit=limit)

        in_threes = racers.race(shared.base_urls, each_sends(room.order(3, user="ann"), times=3))
        in_ones = racers.race(shared.base_urls, each_sends(room.order(1, user="ann"), times=2))

        assert outcomes(in_threes) == {"202": 6, "429 quota_exceeded": 3 * CLIENTS - 6}
        assert outcomes(in_ones) == {"202": 2, "429 quota_exceeded": 2 * CLIENTS - 2}
        for refused in [one for one in in_threes + in_ones if one.status == 429]:
            told = refused.body["quota"]
            assert (
                told.items() >= {**kind, "limit": limit, "requested": refused.order.num_images * each}.items()
            )
            assert told["used"] + told["requested"] > limit
        assert room.used(shared) == 20 * each

    def test_for_each_counts_each_one_alone(
        self, shared: Fleet, racers: Racers, rooms: dict[str, Room]
    ) -> None:
        room = rooms["each end user"]
        room.limit(shared, subject="end_user", subject_id="", unit="images", window="day", limit=10)

        orders = [room.order(3, user="ann"), room.order(1, user="ben"), room.order(3)]
        answers = racers.race(shared.base_urls, each_sends(*orders, times=3))

        def of(user: str) -> int:
            return racing.accepted_images([one for one in answers if one.order.user == user])

        assert (of("ann"), of("ben"), of("")) == (9, 10, 3 * 3 * CLIENTS)


class TestConcurrencyLimit:
    def test_is_never_exceeded(self, shared: Fleet, racers: Racers, rooms: dict[str, Room]) -> None:
        room = rooms["concurrency"]

        answers = racers.race(shared.base_urls, each_sends(room.order(), times=12))

        refused = 12 * CLIENTS - 37
        assert outcomes(answers) == {"202": 37, "429 concurrency_limit_reached": refused}
        assert room.get(shared, "/balance")["unfinished_jobs"] == 37


class TestLimitsTogether:
    @pytest.mark.parametrize(
        "name, refusal",
        [
            ("credit first", "402 insufficient_credit"),
            ("quota first", "429 quota_exceeded"),
            ("concurrency first", "429 concurrency_limit_reached"),
        ],
    )
    def test_stop_at_the_tightest(
        self, shared: Fleet, racers: Racers, rooms: dict[str, Room], name: str, refusal: str
    ) -> None:
        """What one limit refuses is not left counted on another."""
        room, limit = rooms[name], 25 if name == "quota first" else 40
        for subject in ("workspace", "member", "key"):
            room.limit(shared, subject=subject, unit="images", window="day", limit=limit)
        room.limit(shared, subject="end_user", unit="credits", window="month", limit=limit * PRICE)

        answers = racers.race(shared.base_urls, each_sends(room.order(user="ann"), times=10))

        assert outcomes(answers) == {"202": 25, refusal: 10 * CLIENTS - 25}
        assert room.get(shared, "/balance")["held_credits"] == 25 * PRICE
        assert {one["used"] for one in room.quotas(shared)} == {25, 25 * PRICE}


class TestLimitThatChangesDuringARace:
    """In force from the moment at which the change is answered, however much the web processes had kept of it."""

    def test_is_exact_when_it_is_set(self, shared: Fleet, racers: Racers, rooms: dict[str, Room]) -> None:
        room = rooms["set"]

        answers, told = _race_with_change(shared, racers, room, after=30, limit=120)

        assert racing.accepted_images(answers) == max(120, told["used"])
        assert room.used(shared) == max(120, told["used"])

    def test_is_exact_when_it_is_raised(self, shared: Fleet, racers: Racers, rooms: dict[str, Room]) -> None:
        room = rooms["raised"]
        room.limit(shared, subject="workspace", unit="images", window="month", limit=30)

        answers, _ = _race_with_change(shared, racers, room, after=30, limit=90)

        assert racing.accepted_images(answers) == room.used(shared) == 90

    def test_is_exact_when_it_is_lowered(self, shared: Fleet, racers: Racers, rooms: dict[str, Room]) -> None:
        """To below what is used: nothing more is let through."""
        room = rooms["lowered"]
        room.limit(shared, subject="workspace", unit="images", window="month", limit=1_000)

        answers, told = _race_with_change(shared, racers, room, after=30, limit=10)

        assert racing.accepted_images(answers) == room.used(shared) == told["used"]
        assert told["used"] >= 30


def _race_with_change(
    fleet: Fleet, racers: Racers, room: Room, *, after: int, limit: int
) -> tuple[list[Answer], dict[str, Any]]:
    """Race, set the limit once so many images are accepted, race on; also what the change was answered."""
    before = racers.start(fleet.base_urls, each_sends(room.order(), times=20))
    _wait_until(lambda: room.get(fleet, "/balance")["unfinished_jobs"] >= after)
    told = room.limit(fleet, subject="workspace", unit="images", window="month", limit=limit)
    later = racers.start(fleet.base_urls, each_sends(room.order(), times=10))
    return racing.finished([*before, *later]), told


class TestFailedJobs:
    """A fleet of its own, because its worker would take the other races' jobs too."""

    LIMIT = 40

    def test_return_their_quota_while_others_take_it(
        self, fleet: Fleet, racers: Racers, tmp_path: Any
    ) -> None:
        room = open_rooms(fleet, {"name": "failures"})["failures"]
        for subject in ("workspace", "member", "key", "end_user"):
            room.limit(fleet, subject=subject, unit="images", window="day", limit=self.LIMIT)
            room.limit(fleet, subject=subject, unit="credits", window="total", limit=self.LIMIT * PRICE)
        good = [room.order(1, user="ann"), room.order(2, user="ann")]
        bad = [room.order(number, user="ann", prompt="a blank! boat") for number in (1, 3)]

        with _worker(fleet), _highest(fleet, room) as highest:
            answers = racers.race(fleet.base_urls, each_sends(bad[0], good[0], bad[1], good[1], times=4))
            _wait_until(lambda: room.get(fleet, "/balance")["unfinished_jobs"] == 0)
            answers += racers.race(fleet.base_urls, each_sends(good[0], times=6))
            _wait_until(lambda: room.get(fleet, "/balance")["unfinished_jobs"] == 0)

        ends = _jobs(fleet, room)
        assert ends["failed"] > 0
        assert ends["succeeded"] + ends["failed"] == outcomes(answers)["202"]
        assert highest() <= self.LIMIT
        assert _delivered(fleet, room) == self.LIMIT
        assert {(one["unit"], one["used"]) for one in room.quotas(fleet)} == {
            ("images", self.LIMIT),
            ("credits", self.LIMIT * PRICE),
        }
        assert room.get(fleet, "/balance")["held_credits"] == 0
        assert "The ledger is clean." in fleet.manage("verify_ledger")


@contextlib.contextmanager
def _worker(fleet: Fleet) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.services.worker"],
        cwd=ROOT,
        env=fleet.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextlib.contextmanager
def _highest(fleet: Fleet, room: Room) -> Iterator[Callable[[], int]]:
    """Looks again and again how many images are under way or delivered at one moment."""
    seen, is_over = [0], threading.Event()

    def look() -> None:
        with psycopg.connect(fleet.environment["DATABASE_URL"], autocommit=True) as connection:
            while not is_over.wait(0.01):
                rows = connection.execute(
                    "SELECT coalesce(sum(num_images), 0) FROM inference_job"
                    " WHERE workspace_id = %s AND state IN ('queued', 'processing', 'succeeded')",
                    [room.id],
                )
                seen.extend(int(row[0]) for row in rows)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield lambda: max(seen)
    finally:
        is_over.set()
        watcher.join()


def _jobs(fleet: Fleet, room: Room) -> dict[str, int]:
    """How many jobs are in which state."""
    with psycopg.connect(fleet.environment["DATABASE_URL"]) as connection:
        rows = connection.execute(
            "SELECT state, count(*) FROM inference_job WHERE workspace_id = %s GROUP BY state", [room.id]
        )
        return {str(state): int(count) for state, count in rows}


def _delivered(fleet: Fleet, room: Room) -> int:
    with psycopg.connect(fleet.environment["DATABASE_URL"]) as connection:
        row = connection.execute(
            "SELECT count(*) FROM inference_image WHERE workspace_id = %s", [room.id]
        ).fetchone()
    assert row is not None
    return int(row[0])


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not is_so():
        assert time.monotonic() < deadline, "never came about"
        time.sleep(0.05)


class TestIdempotencyKey:
    KEYS = 200

    def test_makes_one_job_of_many_posts(self, shared: Fleet, racers: Racers, rooms: dict[str, Room]) -> None:
        """All clients post all keys in the same order, so that they meet at each."""
        room = rooms["keys"]
        orders = [room.order(idempotency_key=f"key-{number}") for number in range(self.KEYS)]

        answers = racers.race(shared.base_urls, [_repeated(orders, POSTS_OF_A_KEY)] * CLIENTS)

        assert {answer.status for answer in answers} == {202}
        jobs_of = _jobs_by_key(answers)
        assert [len(jobs_of[order.idempotency_key]) for order in orders] == [1] * self.KEYS
        assert room.get(shared, "/balance")["unfinished_jobs"] == self.KEYS

    def test_is_for_one_body(self, shared: Fleet, racers: Racers, rooms: dict[str, Room]) -> None:
        """Half of the clients post one body, half another: the first to come has made the job."""
        room = rooms["bodies"]
        keys = [f"key-{number}" for number in range(self.KEYS)]
        one = [room.order(1, idempotency_key=key) for key in keys]
        other = [room.order(2, idempotency_key=key) for key in keys]

        answers = racers.race(shared.base_urls, [one, one, other, other] * (CLIENTS // 4))

        for key in keys:
            of_key = [answer for answer in answers if answer.order.idempotency_key == key]
            made = {answer.order.num_images for answer in of_key if answer.status == 202}
            refused = {answer.order.num_images for answer in of_key if answer.status != 202}
            assert len(made) == len(refused) == 1
            assert made != refused
        assert outcomes(answers) == {
            "202": self.KEYS * CLIENTS // 2,
            "422 idempotency_key_reused": self.KEYS * CLIENTS // 2,
        }

    def test_makes_one_job_though_its_server_is_killed(
        self, shared: Fleet, racers: Racers, rooms: dict[str, Room]
    ) -> None:
        """Whoever got no answer asks again, as a careful client does, until there is one."""
        room = rooms["killed"]
        orders = [room.order(idempotency_key=f"key-{number}") for number in range(self.KEYS)]
        environment = {**shared.environment, "DATABASE_URL": shared.web_database}

        with web_process(environment) as victim:
            urls = [victim.base_url, shared.base_urls[0]]
            runs = racers.start(urls, [orders] * CLIENTS, retry=True)
            for kill in range(1, 4):
                _wait_until(partial(_has_jobs, shared, room, kill * self.KEYS // 5))
                victim.kill()
                victim.start_again()
            answers = racing.finished(runs)

        assert {answer.status for answer in answers} == {202}
        jobs_of = _jobs_by_key(answers)
        assert [len(jobs_of[order.idempotency_key]) for order in orders] == [1] * self.KEYS
        assert _jobs(shared, room) == {"queued": self.KEYS}

    @pytest.mark.parametrize("characters", [256, 60_000, 1_000_000])
    def test_that_is_too_long_is_refused_and_nothing_else(
        self, shared: Fleet, rooms: dict[str, Room], characters: int
    ) -> None:
        room = rooms["long keys"]
        headers = {"Idempotency-Key": "k" * characters}

        # Streamed: the server ends the connection while a long head is still being sent, and the body may be lost.
        with (
            shared.client(key=room.key) as client,
            client.stream("POST", racing.GENERATIONS, json=room.order().body, headers=headers) as answer,
        ):
            status = answer.status_code

        assert 400 <= status < 500
        assert room.get(shared, "/balance")["unfinished_jobs"] == 0


def _repeated(orders: list[Order], times: int) -> list[Order]:
    """Each order so often in a row."""
    return [order for order in orders for _ in range(times)]


def _jobs_by_key(answers: Sequence[Answer]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for answer in answers:
        found[answer.order.idempotency_key].add(answer.body["id"])
    return found


def _has_jobs(fleet: Fleet, room: Room, number: int) -> bool:
    return sum(_jobs(fleet, room).values()) >= number
