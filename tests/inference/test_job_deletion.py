from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from accounts import audit, clock
from accounts.models import AuditEvent, Entitlements, Side, Workspace
from billing.models import Operation, UsageRecord
from inference import image_deletion, job_deletion, jobs, retention, storage
from inference.models import IdempotencyRecord, Image, Job, JobContent, ModelVersion, State
from inference.requests import Delivery
from tests import factories
from tests.inference import stubborn_storage
from tests.inference.steps import change, claim, discrepancies, fresh, judge, stored
from tests.inference.stubborn_storage import files_of

KEPT = timedelta(days=180)


@pytest.fixture(autouse=True)
def _books_in_order(db: None, settings: Any) -> Iterator[None]:
    judge(settings, flag_words=["doubtful"], block_words=["forbidden"])
    yield
    assert discrepancies() == []


@pytest.fixture
def done(workspace: Workspace, model: ModelVersion) -> Job:
    """A job that delivered two pictures, made with an idempotency key."""
    caller, request = factories.caller(workspace), factories.request(num_images=2)
    return factories.run(jobs.submit(caller, request, Delivery(), "once"))


def end_of(job: Job) -> Any:
    assert job.finished_at is not None
    return job.finished_at


def is_there(job: Job) -> bool:
    return Job.objects.across_workspaces().filter(pk=job.pk).exists()


class TestDeleteOld:
    def test_takes_a_job_exactly_as_old_as_it_is_kept(self, done: Job) -> None:
        assert job_deletion.delete_old(end_of(done) + KEPT - timedelta(milliseconds=1)) == 0
        assert job_deletion.delete_old(end_of(done) + KEPT) == 1
        assert not is_there(done)

    def test_takes_words_pictures_and_idempotency_along(
        self, done: Job, workspace: Workspace, settings: Any
    ) -> None:
        assert files_of(settings, workspace) != ["."]

        job_deletion.delete_old(end_of(done) + KEPT)

        tables: list[Any] = [JobContent, Image, IdempotencyRecord]
        assert [table.objects.for_workspace(workspace).count() for table in tables] == [0, 0, 0]
        assert files_of(settings, workspace) == ["."]

    def test_leaves_usage_ledger_and_audit(self, done: Job, workspace: Workspace) -> None:
        job_deletion.delete_old(end_of(done) + KEPT)

        assert UsageRecord.objects.for_workspace(workspace).get().reference == done.public_id
        assert Operation.objects.for_workspace(workspace).filter(reference=done.public_id).count() == 2
        accepted = AuditEvent.objects.for_workspace(workspace).get(action=audit.Event.JOB_ACCEPTED)
        assert accepted.target == done.public_id

    def test_leaves_the_jobs_of_others(
        self, done: Job, workspace: Workspace, charlies_workspace: Workspace
    ) -> None:
        Entitlements.objects.create(workspace=workspace, job_retention_days=1)
        caller = factories.caller(charlies_workspace, side=Side.TEST)
        charlies = factories.run(jobs.submit(caller, factories.request(), Delivery()))

        job_deletion.delete_old(end_of(charlies) + timedelta(days=2))

        assert (is_there(done), is_there(charlies)) == (False, True)
        assert len(jobs.images_of(charlies)) == 1

    def test_leaves_those_of_a_workspace_that_keeps_them(self, done: Job, workspace: Workspace) -> None:
        Entitlements.objects.create(workspace=workspace, job_retention_days=0)

        assert job_deletion.delete_old(end_of(done) + timedelta(days=5_000)) == 0

    def test_leaves_a_job_that_has_not_ended(self, workspace: Workspace, model: ModelVersion) -> None:
        queued = factories.job(workspace)
        claimed = claim(factories.job(workspace)).job

        assert job_deletion.delete_old(clock.now() + timedelta(days=5_000)) == 0
        assert (is_there(queued), is_there(claimed)) == (True, True)

    def test_leaves_flagged_words_to_the_reviewer(self, workspace: Workspace, model: ModelVersion) -> None:
        Entitlements.objects.create(workspace=workspace, job_retention_days=1)
        flagged = factories.run(factories.job(workspace, "a doubtful boat"))
        content = JobContent.objects.for_workspace(workspace).get(job=flagged)

        assert job_deletion.delete_old(content.expires_at - timedelta(milliseconds=1)) == 0
        assert job_deletion.delete_old(content.expires_at) == 1

    def test_takes_a_flagged_job_whose_words_are_gone(
        self, workspace: Workspace, model: ModelVersion
    ) -> None:
        Entitlements.objects.create(workspace=workspace, job_retention_days=1)
        flagged = factories.run(factories.job(workspace, "a doubtful boat"))
        JobContent.objects.for_workspace(workspace).delete()

        assert job_deletion.delete_old(end_of(flagged) + timedelta(days=1)) == 1

    def test_takes_no_more_than_a_batch(
        self, workspace: Workspace, model: ModelVersion, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retention, "BATCH", 2)
        for _ in range(3):
            factories.run(factories.job(workspace))

        now = clock.now() + KEPT

        assert [job_deletion.delete_old(now) for _ in range(3)] == [2, 1, 0]


class TestOpenHold:
    def test_keeps_its_job(self, workspace: Workspace, model: ModelVersion) -> None:
        """A fault of ours, which `verify_ledger` finds: the job must be there to explain it."""
        broken = factories.job(workspace)
        change(broken, state=State.FAILED, finished_at=clock.now())

        assert job_deletion.delete_old(clock.now() + timedelta(days=5_000)) == 0

        change(broken, state=State.QUEUED, finished_at=None)


class TestStorageFault:
    def test_keeps_the_job_until_its_bytes_are_gone(
        self, done: Job, workspace: Workspace, settings: Any
    ) -> None:
        stubborn_storage.keep(settings, "1-1.png")

        assert job_deletion.delete_old(end_of(done) + KEPT) == 0
        assert is_there(done)
        assert jobs.images_of(done) == []

        stubborn_storage.keep(settings)

        assert job_deletion.delete_old(end_of(done) + KEPT) == 1
        assert files_of(settings, workspace) == ["."]

    def test_does_not_keep_the_other_jobs(self, done: Job, workspace: Workspace, settings: Any) -> None:
        other = factories.run(factories.job(workspace))
        stubborn_storage.keep(settings, done.public_id)

        assert job_deletion.delete_old(end_of(other) + KEPT) == 1
        assert (is_there(done), is_there(other)) == (True, False)

    def test_of_a_store_out_of_reach_keeps_all(self, done: Job, settings: Any) -> None:
        stubborn_storage.use(settings, stubborn_storage.UnreachableStorage)

        assert job_deletion.delete_old(end_of(done) + KEPT) == 0


class TestCrash:
    def test_after_the_pictures_were_hidden_leaves_nothing_behind(
        self, done: Job, workspace: Workspace, settings: Any
    ) -> None:
        Image.objects.for_workspace(workspace).update(deleted_at=clock.now())

        job_deletion.delete_old(end_of(done) + KEPT)

        assert (is_there(done), files_of(settings, workspace)) == (False, ["."])

    def test_after_some_bytes_went_leaves_nothing_behind(
        self, done: Job, workspace: Workspace, settings: Any
    ) -> None:
        Image.objects.for_workspace(workspace).update(deleted_at=clock.now())
        image_deletion.erase_hidden(clock.now())

        job_deletion.delete_old(end_of(done) + KEPT)

        assert (is_there(done), files_of(settings, workspace)) == (False, ["."])

    def test_of_a_worker_leaves_no_bytes_that_nobody_knows(
        self, workspace: Workspace, model: ModelVersion, settings: Any
    ) -> None:
        """It had stored its picture and died before it could complete; the next attempt delivered another."""
        job = factories.job(workspace)
        lost = claim(job)
        stored(lost)
        change(job, lease_until=clock.now() - timedelta(seconds=1))
        jobs.recover(fresh(job))
        factories.run(job)
        assert storage.read(storage.key_of(job, 1, 0, "png")) == b"a picture"

        job_deletion.delete_old(end_of(fresh(job)) + KEPT)

        assert files_of(settings, workspace) == ["."]
