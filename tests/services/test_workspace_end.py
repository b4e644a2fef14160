"""A workspace's export and deletion on PostgreSQL: with web processes that row-level security binds, with many
sweepers at once, and with sweepers that die."""

import contextlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.flows.processes import ROOT
from tests.services.conftest import Fleet, start_fleet
from tests.services.workspaces import Room, open_rooms

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]

JOBS = 40
SWEEPERS, KILLS = 3, 4
FILL = f"""
import django; django.setup()
import sys, uuid
from accounts.models import AuditEvent, Workspace
from inference import prompts
from inference.prompts import TemplateText
from tests import factories
workspace = Workspace.objects.get(pk=uuid.UUID(sys.argv[1]))
prompts.save(workspace.pk, "house-style", TemplateText(preamble="in ink"))
for _ in range({JOBS}):
    factories.run(factories.job(workspace, num_images=2))
AuditEvent.objects.bulk_create(
    AuditEvent(workspace=workspace, action="test", actor="system", target=str(n), data={{"text": "x" * 500}})
    for n in range(5_000)
)
"""
CLOSE_LONG_AGO = """
import django; django.setup()
import sys, uuid
from accounts import clock, workspaces
workspaces.close(uuid.UUID(sys.argv[1]), clock.now() - workspaces.GRACE)
"""
SWEEP = """
import django; django.setup()
from accounts import clock
from inference import retention, workspace_deletion
retention.BATCH = 3
print("sweeping", flush=True)
while workspace_deletion.advance_due(clock.now()):
    pass
"""
RETENTION = """
import django; django.setup()
from datetime import timedelta
from accounts import clock
from inference import image_deletion, job_deletion
now = clock.now()
print(image_deletion.hide_old(now + timedelta(days=91)), image_deletion.erase_hidden(now))
print(job_deletion.delete_old(now + timedelta(days=181)), job_deletion.delete_old(now + timedelta(days=181)))
"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One for all tests here; each opens rooms of its own."""
    with start_fleet(tmp_path_factory.mktemp("fleet"), web_processes=1) as started:
        yield started


@pytest.fixture
def rooms(fleet: Fleet) -> dict[str, Room]:
    """Two workspaces with jobs, pictures and a long audit log."""
    made = open_rooms(fleet, {"name": "going"}, {"name": "staying"})
    for room in made.values():
        fleet.run("-c", FILL, room.id)
    return made


def sweeper(fleet: Fleet) -> subprocess.Popen[str]:
    """A process that is about to delete."""
    process = subprocess.Popen(
        [sys.executable, "-c", SWEEP], cwd=ROOT, env=fleet.environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while process.stdout.readline() != "sweeping\n":
        assert process.poll() is None
    return process


def rows_of(fleet: Fleet, room: Room) -> dict[str, int]:
    """Numbers of the room's rows in all tables that name a workspace and still have some."""
    with psycopg.connect(fleet.environment["DATABASE_URL"]) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.columns"
            " WHERE column_name = 'workspace_id' AND table_schema = 'public'"
        ).fetchall()
        counts = {}
        for (table,) in tables:
            query = psycopg.sql.SQL("SELECT count(*) FROM {} WHERE workspace_id = %s")
            row = connection.execute(query.format(psycopg.sql.Identifier(table)), [room.id]).fetchone()
            counts[table] = row[0] if row else 0
    return {table: count for table, count in counts.items() if count}


def files_of(fleet: Fleet, room: Room) -> int:
    return sum(1 for _ in Path(fleet.environment["ATELIER_DATA_DIR"], "images", room.id).rglob("*.png"))


def assert_is_gone(fleet: Fleet, room: Room) -> None:
    left = set(rows_of(fleet, room))
    assert {name for name in left if not name.startswith("billing_")} <= {"accounts_auditevent"}
    assert files_of(fleet, room) == 0
    assert "The ledger is clean." in fleet.manage("verify_ledger")


class TestDeletion:
    def test_by_many_sweepers_at_once_takes_one_workspace_and_no_other(
        self, fleet: Fleet, rooms: dict[str, Room]
    ) -> None:
        going, staying = rooms["going"], rooms["staying"]
        before = rows_of(fleet, staying)
        assert (files_of(fleet, going), before["inference_job"]) == (2 * JOBS, JOBS)
        fleet.run("-c", CLOSE_LONG_AGO, going.id)

        for process in [sweeper(fleet) for _ in range(SWEEPERS)]:
            process.wait(timeout=120)
        fleet.run("-c", SWEEP)  # what the others left to each other

        assert_is_gone(fleet, going)
        assert (rows_of(fleet, staying), files_of(fleet, staying)) == (before, 2 * JOBS)

    def test_survives_sweepers_that_are_killed(self, fleet: Fleet, rooms: dict[str, Room]) -> None:
        seed = random.randrange(10**6)
        print(f"seed {seed}")
        moments = random.Random(seed)
        fleet.run("-c", CLOSE_LONG_AGO, rooms["going"].id)

        for _ in range(KILLS):
            process = sweeper(fleet)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=moments.uniform(0.01, 0.3))
            process.kill()
            process.wait()
        fleet.run("-c", SWEEP)

        assert_is_gone(fleet, rooms["going"])


class TestRetention:
    def test_goes_the_same_way_as_on_sqlite(self, fleet: Fleet, rooms: dict[str, Room]) -> None:
        hidden, erased, deleted, later = map(int, fleet.run("-c", RETENTION).split()[-4:])

        assert (hidden, deleted, later) == (erased, hidden // 2, 0)
        assert hidden >= 4 * JOBS
        assert [files_of(fleet, room) for room in rooms.values()] == [0, 0]
        assert "The ledger is clean." in fleet.manage("verify_ledger")


class TestExport:
    def test_is_complete_and_holds_no_connection_while_the_client_pauses(
        self, fleet: Fleet, rooms: dict[str, Room]
    ) -> None:
        going, staying = rooms["going"], rooms["staying"]

        with (
            fleet.client(key=going.key) as client,
            client.stream("GET", "/api/v1/workspace/export") as answer,
        ):
            lines = answer.iter_lines()
            first = next(lines)
            time.sleep(1.0)
            waiting = _open_transactions(fleet)
            text = [first, *lines]

        assert waiting == 0
        told = [json.loads(line) for line in text]
        assert told[-1]["part"] == "end"
        counts, held = told[-1]["row"], rows_of(fleet, going)
        for part, table in {"jobs": "inference_job", "audit_events": "accounts_auditevent"}.items():
            assert counts[part] == held[table] == sum(line["part"] == part for line in told)
        assert not any(staying.id in line for line in text)


def _open_transactions(fleet: Fleet) -> int:
    with psycopg.connect(fleet.environment["DATABASE_URL"], autocommit=True) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND state <> 'idle'"
        ).fetchone()
    assert row is not None
    return int(row[0])
