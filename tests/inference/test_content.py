from datetime import timedelta
from typing import Any

import pytest

from accounts import keyring
from accounts.models import Entitlements, Workspace
from inference import content, jobs
from inference.attempts import Result
from inference.content import FLAGGED_DAYS, Words
from inference.jobs import PromptBlocked
from inference.models import Job, JobContent, ModelVersion
from tests import factories
from tests.inference.steps import TIMINGS, claim, judge, stored

SECRET = "heliotrope submarine"


@pytest.fixture
def job(workspace: Workspace, model: ModelVersion) -> Job:
    return factories.job(workspace, SECRET, negative_prompt="fog")


@pytest.fixture
def forgetful(workspace: Workspace) -> Workspace:
    """alice's workspace, which keeps no words."""
    Entitlements.objects.create(workspace=workspace, content_retention_days=0)
    return workspace


@pytest.fixture(autouse=True)
def _judges(settings: Any) -> None:
    judge(settings, flag_words=["doubtful"], block_words=["forbidden"])


def rows(job: Job) -> list[JobContent]:
    return list(JobContent.objects.for_workspace(job.workspace_id).filter(job=job))


class TestKeep:
    def test_gives_the_words_back(self, job: Job) -> None:
        assert content.read(job) == Words(SECRET, "fog")

    def test_writes_no_plain_words(self, job: Job) -> None:
        ciphertext = bytes(rows(job)[0].ciphertext)

        assert not any(word.encode() in ciphertext for word in (*SECRET.split(), "fog", "prompt"))

    def test_encrypts_the_same_words_differently_each_time(
        self, job: Job, workspace: Workspace, model: ModelVersion
    ) -> None:
        other = factories.job(workspace, SECRET, negative_prompt="fog")

        assert rows(job)[0].ciphertext != rows(other)[0].ciphertext

    def test_keeps_them_as_long_as_the_workspace_says(
        self, workspace: Workspace, model: ModelVersion
    ) -> None:
        Entitlements.objects.create(workspace=workspace, content_retention_days=7)

        job = factories.job(workspace)

        assert rows(job)[0].expires_at - job.created_at == timedelta(days=7)

    def test_keeps_them_for_thirty_days_by_default(self, job: Job) -> None:
        assert rows(job)[0].expires_at - job.created_at == timedelta(days=30)

    def test_keeps_flagged_words_for_review(self, workspace: Workspace, model: ModelVersion) -> None:
        job = factories.job(workspace, "a doubtful boat")

        assert rows(job)[0].expires_at - job.created_at == timedelta(days=FLAGGED_DAYS)

    def test_keeps_blocked_words_for_review(self, forgetful: Workspace, model: ModelVersion) -> None:
        with pytest.raises(PromptBlocked) as refused:
            factories.job(forgetful, "a forbidden boat")

        job = refused.value.job
        assert rows(job)[0].expires_at - job.created_at == timedelta(days=FLAGGED_DAYS)


class TestRead:
    def test_finds_nothing_once_the_words_are_deleted(self, job: Job) -> None:
        JobContent.objects.for_workspace(job.workspace_id).filter(job=job).delete()

        assert content.read(job) is None


class TestForgetIfNotKept:
    def test_keeps_the_words_while_the_job_is_queued(self, forgetful: Workspace, model: ModelVersion) -> None:
        job = factories.job(forgetful, SECRET)

        assert content.read(job) == Words(SECRET, "")

    def test_deletes_them_when_the_job_completes(self, forgetful: Workspace, model: ModelVersion) -> None:
        mine = claim(factories.job(forgetful))

        jobs.complete(mine, Result(stored(mine), TIMINGS))

        assert rows(mine.job) == []

    def test_deletes_them_when_the_job_fails(self, forgetful: Workspace, model: ModelVersion) -> None:
        mine = claim(factories.job(forgetful))

        jobs.fail(mine, "engine_failed", "No picture.")

        assert rows(mine.job) == []

    def test_deletes_them_when_the_queued_job_is_canceled(
        self, forgetful: Workspace, model: ModelVersion
    ) -> None:
        job = factories.job(forgetful)

        jobs.cancel(factories.caller(forgetful), job.pk)

        assert rows(job) == []

    def test_keeps_them_for_the_next_attempt(self, forgetful: Workspace, model: ModelVersion) -> None:
        mine = claim(factories.job(forgetful, SECRET))

        jobs.retry(mine, "engine_failed", "No picture.")

        assert content.read(mine.job) == Words(SECRET, "")

    def test_keeps_flagged_words_though_nothing_else_is_kept(
        self, forgetful: Workspace, model: ModelVersion
    ) -> None:
        job = factories.run(factories.job(forgetful, "a doubtful boat"))

        assert content.read(job) == Words("a doubtful boat", "")

    def test_keeps_them_where_the_workspace_keeps_words(self, job: Job) -> None:
        factories.run(job)

        assert content.read(job) == Words(SECRET, "fog")


class TestReadMany:
    def test_gives_the_words_of_each_job(self, workspace: Workspace, job: Job) -> None:
        other = factories.job(workspace, "a lake")

        words = content.read_many(workspace.pk, [job, other])

        assert words == {job.pk: Words(SECRET, "fog"), other.pk: Words("a lake", "")}

    def test_leaves_out_jobs_whose_words_are_gone(self, workspace: Workspace, job: Job) -> None:
        other = factories.job(workspace, "a lake")
        JobContent.objects.for_workspace(workspace).filter(job=job).delete()

        assert set(content.read_many(workspace.pk, [job, other])) == {other.pk}

    def test_leaves_out_words_that_do_not_open(self, workspace: Workspace, job: Job) -> None:
        other = factories.job(workspace, "a lake")
        JobContent.objects.for_workspace(workspace).filter(job=job).update(ciphertext=b"nonsense")

        assert set(content.read_many(workspace.pk, [job, other])) == {other.pk}

    def test_gives_none_when_the_secret_is_destroyed(self, workspace: Workspace, job: Job) -> None:
        keyring.destroy(workspace.pk)

        assert content.read_many(workspace.pk, [job]) == {}

    def test_gives_none_of_another_workspace(self, charlies_workspace: Workspace, job: Job) -> None:
        assert content.read_many(charlies_workspace.pk, [job]) == {}
