"""Trying a quota in a web process that row-level security binds, on more rows than are read at once."""

from pathlib import Path
from typing import Any

import pytest

from tests.services.conftest import Fleet, start_fleet
from tests.services.workspaces import Room, open_rooms

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]

# A job of one image every minute, for three end users in turns.
MANY_JOBS = """
import django; django.setup()
import sys, uuid
from datetime import UTC, datetime, timedelta
from billing.models import UsageRecord
UsageRecord.objects.bulk_create(batch_size=1_000, objs=(
    UsageRecord(
        workspace_id=uuid.UUID(sys.argv[1]), reference=f"job {number}", side="live", sku="fake@1",
        operation="text-to-image", price_book_version=1, images=1, pixels=1, evaluations=1, gpu_ms=1, credits=10,
        revenue_micros=0, end_user_hash=f"{number % 3:064}",
        accepted_at=datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=number),
    )
    for number in range(10_000)
))
"""
TIME = {"since": "2025-01-01T00:00:00Z", "until": "2025-01-31T00:00:00Z"}


class TestTrial:
    def test_reads_all_rows_of_its_workspace_and_no_others(self, tmp_path: Path) -> None:
        with start_fleet(tmp_path, web_processes=1) as fleet:
            self.check(fleet)

    def check(self, fleet: Fleet) -> None:
        rooms = open_rooms(fleet, {"name": "busy"}, {"name": "idle"})
        fleet.run("-c", MANY_JOBS, rooms["busy"].id)
        limit = {"subject": "end_user", "unit": "images", "window": "total", "limit": 1_000}

        busy, idle = (_try(fleet, rooms[name], **limit) for name in ("busy", "idle"))

        assert (busy["jobs"], busy["refused_subjects"], busy["refused_jobs"]) == (10_000, 3, 7_000)
        assert {one["highest_use"] for one in busy["subjects"]} == {1_000}
        assert (idle["jobs"], idle["subjects"]) == (0, [])


def _try(fleet: Fleet, room: Room, **limit: object) -> dict[str, Any]:
    with fleet.client(key=room.key) as client:
        told: dict[str, Any] = (
            client.post("/api/v1/quotas/trial", json={**limit, **TIME}).raise_for_status().json()
        )
    return told
