import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.models import Entitlements, Workspace
from inference import retention
from inference.models import Image, Job, ModelVersion
from inference.retention import Rounds
from tests import factories

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def image(workspace: Workspace, model: ModelVersion) -> Image:
    job = factories.run(factories.job(workspace))
    return Image.objects.for_workspace(workspace).get(job=job)


def is_over(image: Image, **age: float) -> bool:
    """Whether the picture is as old as its workspace keeps it, at that age."""
    over = retention.over_age("created_at", "picture_retention_days", image.created_at + timedelta(**age))
    return Image.objects.across_workspaces().filter(over, pk=image.pk).exists()


class TestOverAge:
    def test_is_everything_exactly_as_old_as_the_default(self, image: Image) -> None:
        assert is_over(image, days=90)

    def test_is_nothing_a_moment_before(self, image: Image) -> None:
        assert not is_over(image, days=90, microseconds=-1_000)

    def test_goes_by_the_workspaces_own_days(self, image: Image, workspace: Workspace) -> None:
        Entitlements.objects.create(workspace=workspace, picture_retention_days=7)

        assert is_over(image, days=7)
        assert not is_over(image, days=7, microseconds=-1_000)

    def test_goes_by_the_default_where_only_other_limits_are_set(
        self, image: Image, workspace: Workspace
    ) -> None:
        Entitlements.objects.create(workspace=workspace, job_retention_days=7)

        assert not is_over(image, days=89)
        assert is_over(image, days=90)

    def test_never_comes_for_a_workspace_that_keeps_for_ever(
        self, image: Image, workspace: Workspace
    ) -> None:
        Entitlements.objects.create(workspace=workspace, picture_retention_days=0)

        assert not is_over(image, days=10_000)

    @pytest.mark.parametrize("days", [40_000, 2**31 - 1])
    def test_is_for_ever_beyond_what_dates_can_say(
        self, image: Image, workspace: Workspace, days: int
    ) -> None:
        Entitlements.objects.create(workspace=workspace, picture_retention_days=days)

        assert not is_over(image, days=30_000)

    def test_is_not_changed_by_what_others_keep(
        self, image: Image, workspace: Workspace, charlies_workspace: Workspace
    ) -> None:
        Entitlements.objects.create(workspace=charlies_workspace, picture_retention_days=1)

        assert not is_over(image, days=89)

    def test_takes_the_default_of_nothing_from_settings(self, image: Image, settings: Any) -> None:
        settings.PICTURE_RETENTION_DAYS = 0

        assert not is_over(image, days=10_000)

    def test_asks_no_more_for_many_workspaces(
        self, image: Image, workspace: Workspace, django_assert_num_queries: Any
    ) -> None:
        for number in range(5):
            other = Workspace.objects.create(name=f"Studio {number}")
            Entitlements.objects.create(workspace=other, picture_retention_days=30 + number % 2)

        with django_assert_num_queries(2):
            is_over(image, days=1)


class TestForAWhile:
    def test_gives_all_when_there_is_time(self) -> None:
        assert list(retention.for_a_while(range(5), seconds=60)) == [0, 1, 2, 3, 4]

    def test_gives_at_least_one(self) -> None:
        assert list(retention.for_a_while(range(5), seconds=0)) == [0]

    def test_gives_nothing_of_nothing(self) -> None:
        assert list(retention.for_a_while([], seconds=0)) == []

    def test_stops_when_the_time_is_over(self) -> None:
        started = time.monotonic()

        taken = sum(1 for _ in retention.for_a_while(iter(int, 1), seconds=0.05))

        assert taken > 1
        assert time.monotonic() - started >= 0.05


class TestRounds:
    def test_go_on_while_there_is_something_to_do(self) -> None:
        left = iter([3, 2, 0])
        rounds = Rounds(lambda now: next(left))

        assert [rounds.go(NOW) for _ in range(3)] == [3, 2, 0]

    def test_rest_when_nothing_was_found(self) -> None:
        asked: list[datetime] = []
        rounds = Rounds(lambda now: asked.append(now) or 0)  # type: ignore[func-returns-value]

        for seconds in (0, 59, 60, 61):
            rounds.go(NOW + timedelta(seconds=seconds))

        assert asked == [NOW, NOW + timedelta(seconds=60)]

    def test_rest_after_a_fault_and_go_on(self) -> None:
        faults = iter([ZeroDivisionError(), None])

        def clean_up(now: datetime) -> int:
            if fault := next(faults):
                raise fault
            return 1

        rounds = Rounds(clean_up)

        assert [rounds.go(NOW), rounds.go(NOW), rounds.go(NOW + retention.REST)] == [0, 0, 1]


class TestDeleteBatch:
    def test_takes_no_more_than_a_batch(
        self, workspace: Workspace, model: ModelVersion, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retention, "BATCH", 2)
        for _ in range(3):
            factories.job(workspace)
        rows = Job.objects.for_workspace(workspace)

        assert [retention.delete_batch(rows) for _ in range(3)] == [2, 1, 0]
