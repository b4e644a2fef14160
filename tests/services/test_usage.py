"""Usage reports on PostgreSQL: the same as on SQLite, and at one moment while jobs end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.processes import ROOT
from tests.services.conftest import Fleet

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]

# The same use in any database, then its report by everything. Ids count up, so both print the same.
SAME_USE = """
import django; django.setup()
import itertools, uuid
from datetime import UTC, datetime, timedelta
from django.core.management import call_command
from accounts.models import Side, Workspace
from billing import usage_reports
from billing.models import UsageRecord
from billing.usage_reports import Dimension
call_command("migrate", verbosity=0)
workspace = Workspace.objects.create(
    id=uuid.UUID(int=1), name="Same", time_zone="America/New_York", earlier_time_zone="Europe/Berlin",
    time_zone_changed_at=datetime(2025, 9, 10, 12, tzinfo=UTC),
)
edges = [datetime(2025, 3, 30, 1, tzinfo=UTC), datetime(2025, 8, 31, 22, tzinfo=UTC),
         datetime(2025, 9, 10, 22, tzinfo=UTC), datetime(2025, 11, 2, 4, tzinfo=UTC)]
offsets = [timedelta(microseconds=1) * sign for sign in (-1, 0, 1)] + [timedelta(hours=h) for h in (-20, 5, 20)]
for number, (edge, offset) in enumerate(itertools.product(edges, offsets)):
    UsageRecord.objects.create(
        id=uuid.UUID(int=number), workspace=workspace, reference=f"job {number}", side=Side.LIVE,
        sku=["boats@1", "Boats@1", "cats-2@1", "cats@10"][number % 4], operation="text-to-image",
        price_book_version=1, images=1, pixels=2**40, evaluations=4, gpu_ms=number, credits=2**53 + number,
        revenue_micros=0, created_at=edge + offset, accepted_at=edge,
        api_key_id=[None, uuid.UUID(int=2**127), uuid.UUID(int=7)][number % 3],
        membership_id=[None, uuid.UUID(int=9)][number % 2], end_user_hash=["", "b", "a"][number % 3],
    )
for size in range(6):
    for group in itertools.combinations(list(Dimension), size):
        for row in usage_reports.report(
            workspace.pk, Side.LIVE, datetime(2025, 3, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC), group
        ):
            print(row)
"""
ENDING_JOBS = """
import django; django.setup()
from django.db import transaction
from accounts import clock
from accounts.models import Workspace
from billing import ledger
from tests.billing.steps import capture, hold, operation, record_usage
workspace = Workspace.objects.get(name="Race")
ledger.grant(workspace.pk, 10_000, "promotional", "usage race")
for _ in range(400):
    with transaction.atomic():
        now = clock.now()
        hold_id = hold(workspace, 5, now)
        record_usage(operation(hold_id), capture(hold_id, 3, now), now)
"""


class TestUsageReports:
    def test_are_the_same_on_sqlite(self, fleet: Fleet, tmp_path: Path) -> None:
        on_sqlite = {**fleet.environment, "DATABASE_URL": f"sqlite:///{tmp_path / 'same.sqlite3'}"}
        printed = subprocess.run(
            [sys.executable, "-c", SAME_USE],
            cwd=ROOT,
            env={**os.environ, **on_sqlite},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

        assert printed.count("UsageRow") > 100
        assert fleet.run("-c", SAME_USE) == printed

    def test_equal_the_ledger_while_jobs_end(self, fleet: Fleet) -> None:
        """Asked through the web role, which sees only the caller's workspace."""
        worker = subprocess.Popen([sys.executable, "-c", ENDING_JOBS], cwd=ROOT, env=fleet.environment)
        answers = []
        with fleet.client() as client:
            while worker.poll() is None or not answers:
                answers.append(client.get("/api/v1/usage").json())
            answers.append(client.get("/api/v1/usage").json())

        assert worker.returncode == 0
        assert [a["totals"]["credits"] for a in answers] == [a["ledger_credits"] for a in answers]
        assert answers[-1]["ledger_credits"] == 1_200
        assert len({a["ledger_credits"] for a in answers}) > 3
