"""50 writers record while 3 sealers seal: every event gets one place in one chain."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.flows.processes import ROOT
from tests.services.conftest import Fleet, start_fleet

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]

PROCESSES, THREADS, EVENTS = 5, 10, 20
SEALERS = 3
# Each writer is a thread with its own connection and records two events in a transaction.
WRITE = f"""
import threading, django; django.setup()
from django.db import connection, transaction
from accounts import audit
from accounts.models import Workspace
workspaces = list(Workspace.objects.order_by("pk").values_list("pk", flat=True))

def write(writer):
    for number in range(0, {EVENTS}, 2):
        workspace_id = workspaces[(writer + number // 2) % len(workspaces)]
        with transaction.atomic():
            for one in (number, number + 1):
                audit.record(audit.Event.JOB_CANCELED, workspace_id, f"job_{{one}}", writer=writer)
    connection.close()

threads = [threading.Thread(target=write, args=(writer,)) for writer in range({THREADS})]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""
# Until its standard input ends, and once more.
SEAL = """
import sys, threading, django; django.setup()
from accounts import audit_seals, clock
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
print("ready", flush=True)
made = 0
while True:
    is_last = ended.is_set()
    made += audit_seals.seal_due(clock.now())
    if is_last:
        break
print(made, flush=True)
"""
PLACES = """
    SELECT s.workspace_id, s.number, p.position, p.event_id FROM accounts_sealedevent p
    JOIN accounts_auditseal s ON s.id = p.seal_id ORDER BY 1, 2, 3"""
LATE = """
    INSERT INTO accounts_auditevent
        (workspace_id, action, actor, target, data, prompt_hash, prompt_hash_key_id, request_id)
    SELECT id, 'job:canceled', 'system', 'late', '{}', '', '', '' FROM accounts_workspace LIMIT 1 RETURNING id"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Fleet]:
    """A database with two workspaces and no web process."""
    with start_fleet(tmp_path, web_processes=0, ATELIER_DB_POOL=str(THREADS)) as fleet:
        made = fleet.manage("create_workspace", "second@example.com", "Second")
        assert "API key" in made, made
        yield fleet


@pytest.fixture
def database(house: Fleet) -> Iterator[psycopg.Connection]:
    with psycopg.connect(house.environment["DATABASE_URL"], autocommit=True) as connection:
        yield connection


def start(house: Fleet, code: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**house.environment, "ATELIER_LOG_FILE": str(log_of(house))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def log_of(house: Fleet) -> Path:
    return Path(house.environment["ATELIER_DATA_DIR"]) / "sealers.log"


def race(house: Fleet) -> list[int]:
    """Write and seal at the same time, to the end; how many seals each sealer made."""
    sealers = [start(house, SEAL) for _ in range(SEALERS)]
    for sealer in sealers:
        assert sealer.stdout is not None
        assert sealer.stdout.readline() == "ready\n"
    writers = [start(house, WRITE) for _ in range(PROCESSES)]
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    return [int(sealer.communicate()[0]) for sealer in sealers]


def assert_everything_is_sealed_once(house: Fleet, database: psycopg.Connection) -> None:
    events = {row[0] for row in database.execute("SELECT id FROM accounts_auditevent")}
    places = database.execute(PLACES).fetchall()
    numbers: dict[object, list[int]] = {}
    for workspace_id, number, *_ in places:
        numbers.setdefault(workspace_id, []).append(number)
    assert sorted(event_id for *_, event_id in places) == sorted(events)
    for mine in numbers.values():
        assert sorted(set(mine)) == list(range(1, max(mine) + 1))
    verified = house.manage("verify_audit", "--heads", str(log_of(house)))
    assert "The audit log is as it was sealed." in verified, verified


class TestSealers:
    def test_give_every_event_one_place(self, house: Fleet, database: psycopg.Connection) -> None:
        made = race(house)

        assert sum(made) == len({row[:2] for row in database.execute(PLACES)})
        assert len([one for one in made if one]) > 1
        written = database.execute("SELECT count(*) FROM accounts_auditevent WHERE target LIKE 'job_%'")
        assert written.fetchone() == (PROCESSES * THREADS * EVENTS,)
        assert_everything_is_sealed_once(house, database)

    def test_seal_an_event_that_is_committed_late(self, house: Fleet, database: psycopg.Connection) -> None:
        with psycopg.connect(house.environment["DATABASE_URL"]) as slow:
            row = slow.execute(LATE).fetchone()
            assert row is not None
            race(house)
            before = [event_id for *_, event_id in database.execute(PLACES)]
            slow.commit()

        sealer = start(house, SEAL)
        made = int(sealer.communicate()[0].split()[1])

        assert row[0] not in before
        assert max(before) > row[0]
        assert made == 1
        assert_everything_is_sealed_once(house, database)
