from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages

from accounts import clock
from accounts.models import Side, Workspace
from billing import ledger
from billing.models import PriceUnit
from inference import jobs, reconciliation, storage
from inference.attempts import Result, StoredPicture, Timings
from inference.models import Image, Job, ModelVersion, State
from inference.reconciliation import Kind
from inference.requests import Delivery
from tests import factories

pytestmark = pytest.mark.usefixtures("model")


def kinds() -> list[str]:
    return [found.kind for found in reconciliation.verify()]


def plant(job: Job, **fields: Any) -> None:
    Job.objects.across_workspaces().filter(pk=job.pk).update(**fields)


@pytest.fixture
def done(workspace: Workspace) -> Job:
    """A job that delivered two images."""
    return factories.run(factories.job(workspace, num_images=2))


@pytest.fixture
def queued(workspace: Workspace) -> Job:
    return factories.job(workspace)


class TestCleanJobs:
    def test_may_be_none(self, workspace: Workspace) -> None:
        assert reconciliation.verify() == []

    def test_may_be_queued(self, queued: Job) -> None:
        assert reconciliation.verify() == []

    def test_may_be_processing(self, queued: Job) -> None:
        jobs.claim(queued.pk, factories.WORKER)

        assert reconciliation.verify() == []

    def test_may_be_done(self, done: Job) -> None:
        assert done.state == State.SUCCEEDED
        assert reconciliation.verify() == []

    def test_may_have_failed(self, workspace: Workspace) -> None:
        job = factories.run(factories.job(workspace, "invalid!"))

        assert job.state == State.FAILED
        assert reconciliation.verify() == []

    def test_may_be_canceled(self, workspace: Workspace, queued: Job) -> None:
        job = jobs.cancel(factories.caller(workspace), queued.pk)

        assert job.state == State.CANCELED
        assert reconciliation.verify() == []

    def test_may_be_back_in_the_queue(self, workspace: Workspace) -> None:
        job = factories.run(factories.job(workspace, "fail!"))

        assert (job.state, job.attempt) == (State.QUEUED, 1)
        assert reconciliation.verify() == []

    def test_may_be_a_mix_in_two_workspaces(
        self, workspace: Workspace, charlies_workspace: Workspace, done: Job, queued: Job
    ) -> None:
        factories.run(factories.job(workspace, "blank!"))
        jobs.submit(factories.caller(charlies_workspace, side=Side.TEST), factories.request(), Delivery())

        assert reconciliation.verify() == []
        assert ledger.verify() == []

    def test_may_be_priced_by_the_second(self, workspace: Workspace) -> None:
        version = factories.fake_model("timed", credits=1, unit=PriceUnit.PER_SECOND)
        job = factories.run(factories.job(workspace, model=version.model.slug, num_images=2))

        assert job.captured_credits <= job.credits_per_image * 2
        assert reconciliation.verify() == []


class TestModeratedJobs:
    @pytest.fixture(autouse=True)
    def _moderation(self, settings: Any) -> None:
        settings.ATELIER_MODERATION = {
            "BACKEND": "inference.moderation.fake.FakeModeration",
            "OPTIONS": {"block_words": ["forbidden"], "refuse_image_indexes": [0]},
        }

    def test_may_have_a_blocked_prompt(self, workspace: Workspace) -> None:
        with pytest.raises(jobs.PromptBlocked):
            factories.job(workspace, "forbidden")

        assert reconciliation.verify() == []

    def test_may_have_all_pictures_refused(self, workspace: Workspace) -> None:
        job = factories.run(factories.job(workspace))

        assert (job.state, job.captured_credits) == (State.BLOCKED, 0)
        assert reconciliation.verify() == []

    def test_may_have_some_pictures_refused(self, workspace: Workspace) -> None:
        job = factories.run(factories.job(workspace, num_images=3))

        assert (job.state, job.captured_credits) == (State.SUCCEEDED, 20)
        assert reconciliation.verify() == []


class TestHolds:
    @pytest.mark.parametrize("state", [state for state in State if state.is_terminal])
    def test_left_open_by_an_ended_job_are_found(self, queued: Job, state: State) -> None:
        plant(queued, state=state, finished_at=clock.now())

        (found,) = reconciliation.verify()
        assert (found.kind, found.subject) == (Kind.OPEN_HOLD_OF_ENDED_JOB, queued.public_id)

    def test_missing_from_a_queued_job_are_found(self, queued: Job) -> None:
        ledger.release(queued.hold_id, f"settle:{queued.public_id}", clock.now())

        (found,) = reconciliation.verify()
        assert (found.kind, found.subject) == (Kind.NO_HOLD, queued.public_id)

    def test_missing_from_a_processing_job_are_found(self, queued: Job) -> None:
        jobs.claim(queued.pk, factories.WORKER)
        ledger.release(queued.hold_id, f"settle:{queued.public_id}", clock.now())

        assert kinds() == [Kind.NO_HOLD]

    def test_that_never_were_are_found(self, workspace: Workspace, done: Job) -> None:
        plant(done, state=State.QUEUED, finished_at=None)

        assert kinds() == [Kind.NO_HOLD]

    def test_without_a_job_are_found(self, queued: Job) -> None:
        Job.objects.across_workspaces().filter(pk=queued.pk).delete()

        (found,) = reconciliation.verify()
        assert (found.kind, found.subject) == (Kind.HOLD_WITHOUT_JOB, queued.hold_id)

    def test_of_a_job_in_another_workspace_are_found(
        self, queued: Job, charlies_workspace: Workspace
    ) -> None:
        plant(queued, workspace=charlies_workspace)

        assert Kind.HOLD_WITHOUT_JOB in kinds()

    def test_whose_reference_names_no_job_are_found(self, workspace: Workspace) -> None:
        ledger.hold(workspace.pk, 10, "hold:stray", "not the id of a job", clock.now())

        (found,) = reconciliation.verify()
        assert (found.kind, found.subject) == (Kind.HOLD_WITHOUT_JOB, "hold:stray")

    def test_that_a_job_has_besides_its_own_are_found(self, workspace: Workspace, done: Job) -> None:
        ledger.hold(workspace.pk, 10, "hold:second", done.public_id, clock.now())

        assert [found.subject for found in reconciliation.verify()] == ["hold:second"]


class TestCharges:
    @pytest.mark.parametrize("captured", [0, 19, 21])
    def test_that_the_job_tells_wrong_are_found(self, done: Job, captured: int) -> None:
        plant(done, captured_credits=captured)

        (found,) = reconciliation.verify()
        assert (found.kind, found.subject) == (Kind.WRONG_CHARGE, done.public_id)

    def test_for_an_image_that_is_gone_are_found(self, done: Job) -> None:
        Image.objects.across_workspaces().filter(job=done, index=1).delete()

        assert kinds() == [Kind.WRONG_CHARGE]

    def test_at_another_price_are_found(self, done: Job) -> None:
        plant(done, credits_per_image=9)

        assert kinds() == [Kind.WRONG_HOLD, Kind.WRONG_CHARGE]

    def test_for_a_job_that_delivered_nothing_are_found(self, queued: Job) -> None:
        ledger.capture(queued.hold_id, 10, f"settle:{queued.public_id}", clock.now())
        plant(queued, state=State.FAILED, finished_at=clock.now())

        assert kinds() == [Kind.WRONG_CHARGE]

    def test_stay_right_when_a_picture_is_deleted_later(self, done: Job) -> None:
        Image.objects.across_workspaces().filter(job=done, index=1).update(deleted_at=clock.now())

        assert reconciliation.verify() == []

    def test_by_the_second_may_be_lower_than_quoted(self, timed: Job) -> None:
        assert timed.captured_credits < timed.credits_per_image

        assert reconciliation.verify() == []

    def test_by_the_second_above_the_quote_are_found(self, timed: Job) -> None:
        plant(timed, credits_per_image=timed.captured_credits - 1)

        assert kinds() == [Kind.WRONG_HOLD, Kind.WRONG_CHARGE]

    @pytest.fixture
    def timed(self, workspace: Workspace) -> Job:
        """One image for 5 credits of GPU time."""
        version: ModelVersion = factories.fake_model("timed", credits=1, unit=PriceUnit.PER_SECOND)
        mine = jobs.claim(factories.job(workspace, model=version.model.slug).pk, factories.WORKER)
        assert mine is not None
        key = storage.key_of(mine.job, mine.attempt, 0, "png")
        picture = StoredPicture(0, key, storage.save(key, b"picture"), 7, "image/png")
        jobs.complete(mine, Result([picture], Timings(gpu_ms=4_100)))
        mine.job.refresh_from_db()
        return mine.job


class TestPictures:
    def test_whose_file_is_missing_are_found(self, done: Job) -> None:
        first, _ = jobs.images_of(done)
        storage.discard(first.storage_key)

        (found,) = reconciliation.verify()
        assert (found.kind, found.subject) == (Kind.PICTURE_MISSING, first.public_id)

    def test_whose_bytes_changed_are_found(self, done: Job) -> None:
        first, _ = jobs.images_of(done)
        storages["images"].delete(first.storage_key)
        storages["images"].save(first.storage_key, ContentFile(b"another picture"))

        (found,) = reconciliation.verify()
        assert (found.kind, found.subject) == (Kind.PICTURE_CHANGED, first.public_id)

    def test_that_were_deleted_need_no_file(self, done: Job) -> None:
        first, _ = jobs.images_of(done)
        storage.discard(first.storage_key)
        Image.objects.across_workspaces().filter(pk=first.pk).update(deleted_at=clock.now())

        assert reconciliation.verify() == []

    def test_that_are_deleted_while_all_are_read_need_no_file(self, done: Job) -> None:
        first, second = jobs.images_of(done)
        found = reconciliation._pictures()
        storage.erase(first.storage_key)
        storage.erase(second.storage_key)
        assert next(found).subject == first.public_id

        Image.objects.across_workspaces().filter(pk=second.pk).update(deleted_at=clock.now())

        assert list(found) == []

    def test_are_left_alone_by_the_check_of_jobs(self, done: Job) -> None:
        first, _ = jobs.images_of(done)
        storage.discard(first.storage_key)

        assert reconciliation.verify_jobs() == []


class TestManyJobs:
    def test_are_read_in_chunks(self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reconciliation, "CHUNK", 2)
        made = [factories.job(workspace) for _ in range(5)]
        for job in made:
            plant(job, state=State.CANCELED, finished_at=clock.now())

        assert [found.subject for found in reconciliation.verify()] == [job.public_id for job in made]
