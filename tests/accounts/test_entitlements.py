from typing import Any

import pytest

from accounts import entitlements
from accounts.models import Entitlements, Workspace


class TestLimits:
    def test_are_the_defaults_without_a_row(self, workspace: Workspace, settings: Any) -> None:
        limits = entitlements.of(workspace.pk)

        assert limits.concurrent_jobs == entitlements.DEFAULT_CONCURRENT_JOBS
        assert limits.content_retention_days == settings.CONTENT_RETENTION_DAYS

    def test_follow_the_setting(self, workspace: Workspace, settings: Any) -> None:
        settings.CONTENT_RETENTION_DAYS = 3

        assert entitlements.of(workspace.pk).content_retention_days == 3

    def test_are_those_of_the_row(self, workspace: Workspace) -> None:
        Entitlements.objects.create(workspace=workspace, concurrent_jobs=7, content_retention_days=9)

        limits = entitlements.of(workspace.pk)

        assert (limits.concurrent_jobs, limits.content_retention_days) == (7, 9)

    def test_mix_row_and_defaults(self, workspace: Workspace, settings: Any) -> None:
        Entitlements.objects.create(workspace=workspace, concurrent_jobs=7)

        limits = entitlements.of(workspace.pk)

        assert limits.concurrent_jobs == 7
        assert limits.content_retention_days == settings.CONTENT_RETENTION_DAYS
        assert limits.polls_per_minute == entitlements.DEFAULT_POLLS_PER_MINUTE

    @pytest.mark.parametrize("field", ["concurrent_jobs", "content_retention_days"])
    def test_take_zero_for_zero(self, workspace: Workspace, field: str) -> None:
        Entitlements.objects.create(workspace=workspace, **{field: 0})

        assert getattr(entitlements.of(workspace.pk), field) == 0

    def test_are_not_those_of_another_workspace(
        self, workspace: Workspace, charlies_workspace: Workspace
    ) -> None:
        Entitlements.objects.create(workspace=charlies_workspace, concurrent_jobs=7)

        assert entitlements.of(workspace.pk).concurrent_jobs == entitlements.DEFAULT_CONCURRENT_JOBS
