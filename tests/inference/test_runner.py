import logging
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import structlog
from django.db import OperationalError, connection
from PIL import Image

from accounts import ids
from accounts.models import Workspace
from inference import engine, jobs, progress, relay, runner, storage
from inference.engine.base import Canceled, Control, Engine, EngineClosing, ModelUnavailable
from inference.engine.fake import FakeEngine
from inference.jobs import MAX_ATTEMPTS
from inference.models import Job, ModelVersion, State
from inference.moderation import Moderation, Verdict
from inference.progress import Progress
from inference.requests import GeneratedImage, OutputFormat, ResolvedRequest
from tests import factories
from tests.inference.steps import (
    available,
    change,
    discrepancies,
    fresh,
    held,
    judge,
    settlements_of,
)

WEIGHTS = "/srv/secret/weights"


def the_running_job() -> Job:
    return Job.objects.across_workspaces().get(state=State.PROCESSING)


class Unloadable(Engine):
    """A model whose folder is gone."""

    def setup(self) -> None:
        raise ModelUnavailable(f"{self.spec.label}: {WEIGHTS} is no folder")

    def generate(self, request: ResolvedRequest, control: Control) -> list[GeneratedImage]:
        raise AssertionError("a model that was not loaded cannot draw")


class Crashing(FakeEngine):
    """Breaks in a way that no engine announces."""

    def generate(self, request: ResolvedRequest, control: Control) -> list[GeneratedImage]:
        raise ZeroDivisionError(f"while drawing {request.prompt} with {WEIGHTS}")


class Overtaken(FakeEngine):
    """So slow that the sweeper gives its job to somebody else before it is done."""

    def generate(self, request: ResolvedRequest, control: Control) -> list[GeneratedImage]:
        jobs.recover(the_running_job())
        return super().generate(request, control)


class Interrupted(FakeEngine):
    """Its caller asks to stop just when it begins."""

    def generate(self, request: ResolvedRequest, control: Control) -> list[GeneratedImage]:
        job = the_running_job()
        jobs.cancel(factories.caller(job.workspace), job.pk)
        return super().generate(request, control)


class HalfDone(FakeEngine):
    """Its caller asks to stop when one picture is finished."""

    def generate(self, request: ResolvedRequest, control: Control) -> list[GeneratedImage]:
        stopped = Canceled("The request was canceled.")
        stopped.finished = super().generate(request, control)[:1]
        raise stopped


class OneBlank(FakeEngine):
    """Its second picture shows nothing."""

    def generate(self, request: ResolvedRequest, control: Control) -> list[GeneratedImage]:
        first, second, third = super().generate(request, control)
        nothing = Image.new("RGB", second.picture.size)
        return [first, GeneratedImage(second.index, second.seed, nothing, second.gpu_ms), third]


class Closing(FakeEngine):
    """Its worker is being stopped."""

    def generate(self, request: ResolvedRequest, control: Control) -> list[GeneratedImage]:
        raise EngineClosing("The engine is closing.")


class Oversized(FakeEngine):
    """Draws larger than it was asked to."""

    def generate(self, request: ResolvedRequest, control: Control) -> list[GeneratedImage]:
        images = super().generate(request, control)
        return [
            GeneratedImage(image.index, image.seed, image.picture.resize((128, 128)), image.gpu_ms)
            for image in images
        ]


class Watched(FakeEngine):
    """Notes what can be seen of its job from outside while it draws."""

    seen: list[Progress | None]

    def generate(self, request: ResolvedRequest, control: Control) -> list[GeneratedImage]:
        job_id = the_running_job().pk
        self.seen.append(progress.latest(job_id))
        images = super().generate(request, control)
        self.seen.append(progress.latest(job_id))
        return images


class BrokenChecker(Moderation):
    """Cannot judge the second picture of a job."""

    def check_prompt(self, prompt: str, negative_prompt: str = "") -> Verdict:
        return self.check_image(Image.new("RGB", (1, 1)))

    def check_image(self, image: Image.Image, index: int = 0) -> Verdict:
        if index:
            raise ConnectionError("the classifier is down")
        return super().check_image(image)


class Outage:
    """The database goes away right after the charge was committed."""

    def __init__(self) -> None:
        self.is_charged = False

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if self.is_charged and 'FROM "inference_job"' in sql:
            raise OperationalError("the server closed the connection unexpectedly")
        self.is_charged |= "billing_usagerecord" in sql
        return execute(sql, params, many, context)


@pytest.fixture(autouse=True)
def _books_in_order(db: None, settings: Any) -> Iterator[None]:
    judge(settings)
    yield
    assert discrepancies() == []


@pytest.fixture
def pictures_folder(tmp_path: Path) -> Path:
    return tmp_path / "images"


def use(settings: Any, engine: type[Engine], **options: Any) -> None:
    settings.ENGINES = {
        "fake": {"BACKEND": f"{engine.__module__}.{engine.__name__}", "OPTIONS": options},
    }


def draw(workspace: Workspace, prompt: str = "a red boat", **fields: Any) -> Job:
    """Submit, and run until nothing is queued."""
    job = factories.job(workspace, prompt, **fields)
    factories.drain()
    return fresh(job)


def written(caplog: pytest.LogCaptureFixture) -> str:
    """The log lines as the product writes them."""
    handlers = logging.getLogger().handlers
    (ours,) = [one for one in handlers if isinstance(one.formatter, structlog.stdlib.ProcessorFormatter)]
    return "\n".join(ours.format(record) for record in caplog.records)


def files_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.rglob("*") if file.is_file())


class TestRun:
    def test_draws_and_delivers(self, workspace: Workspace, model: ModelVersion) -> None:
        job = draw(workspace, num_images=2)

        assert (job.state, job.attempt, job.error_code) == (State.SUCCEEDED, 1, "")
        assert len(jobs.images_of(job)) == 2

    def test_stores_pictures_that_open(self, workspace: Workspace, model: ModelVersion) -> None:
        (image,) = jobs.images_of(draw(workspace, width=128, height=64))

        content = storage.read(image.storage_key)

        assert Image.open(BytesIO(content)).size == (image.width, image.height) == (128, 64)
        assert image.size_bytes == len(content)

    @pytest.mark.parametrize("output_format", list(OutputFormat))
    def test_stores_the_format_that_was_asked(
        self, workspace: Workspace, model: ModelVersion, output_format: OutputFormat
    ) -> None:
        (image,) = jobs.images_of(draw(workspace, output_format=output_format))

        assert image.content_type == output_format.content_type
        assert image.storage_key.endswith(f".{output_format}")
        assert Image.open(BytesIO(storage.read(image.storage_key))).format == output_format.upper()

    def test_charges_for_the_pictures(self, workspace: Workspace, model: ModelVersion) -> None:
        job = draw(workspace, num_images=2)

        assert (available(workspace), held(workspace), settlements_of(job)) == (980, 0, [20])

    def test_names_the_attempt_in_the_storage(
        self, workspace: Workspace, model: ModelVersion, pictures_folder: Path
    ) -> None:
        job = factories.job(workspace, num_images=2)
        change(job, attempt=1)

        factories.drain()

        assert files_in(pictures_folder) == ["2-0.png", "2-1.png"]
        assert {image.attempt for image in jobs.images_of(job)} == {2}

    def test_leaves_a_job_alone_that_ended(self, workspace: Workspace, model: ModelVersion) -> None:
        job = draw(workspace)

        again = factories.run(job)

        assert (again.attempt, again.finished_at, settlements_of(job)) == (1, job.finished_at, [10])

    def test_leaves_a_job_alone_that_another_worker_has(
        self, workspace: Workspace, model: ModelVersion
    ) -> None:
        job = factories.job(workspace)
        jobs.claim(job.pk, "another worker")

        again = factories.run(job)

        assert (again.state, again.worker, again.attempt) == (State.PROCESSING, "another worker", 1)

    def test_is_content_with_an_unknown_job(self) -> None:
        runner.run(ids.new_id(), factories.WORKER)

    @pytest.mark.parametrize("fault", ["", "fail!", "blank!", "invalid!"])
    def test_logs_no_word_of_the_prompt(
        self, workspace: Workspace, model: ModelVersion, caplog: pytest.LogCaptureFixture, fault: str
    ) -> None:
        draw(workspace, f"{fault} heliotrope submarine")

        assert "job ended" in written(caplog)
        assert "heliotrope" not in written(caplog)

    def test_shows_progress_while_it_draws_and_forgets_it_after(
        self, workspace: Workspace, model: ModelVersion, settings: Any
    ) -> None:
        use(settings, Watched)
        Watched.seen = []

        job = draw(workspace)

        assert Watched.seen == [Progress(0, 4), Progress(4, 4)]
        assert progress.latest(job.pk) is None


class TestFaultThatMayPass:
    def test_is_tried_three_times(self, workspace: Workspace, model: ModelVersion) -> None:
        job = draw(workspace, "fail! a boat")

        assert (job.state, job.attempt, job.error_code) == (State.FAILED, 3, "engine_failed")
        assert (available(workspace), settlements_of(job)) == (1_000, [0])

    def test_goes_back_into_the_queue_in_between(self, workspace: Workspace, model: ModelVersion) -> None:
        job = factories.run(factories.job(workspace, "fail! a boat"))

        assert (job.state, job.attempt, held(workspace)) == (State.QUEUED, 1, 10)

    def test_includes_what_no_engine_announces(
        self, workspace: Workspace, model: ModelVersion, settings: Any
    ) -> None:
        use(settings, Crashing)

        job = draw(workspace)

        assert (job.state, job.attempt, job.error_code) == (State.FAILED, 3, "internal_error")
        assert available(workspace) == 1_000

    def test_is_logged_without_the_prompt_that_its_reason_holds(
        self, workspace: Workspace, model: ModelVersion, settings: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        use(settings, Crashing)

        draw(workspace, "heliotrope submarine")

        assert "ZeroDivisionError" in written(caplog)
        assert "heliotrope" not in written(caplog)

    def test_is_told_without_its_inner_reason(
        self, workspace: Workspace, model: ModelVersion, settings: Any
    ) -> None:
        use(settings, Crashing)

        job = draw(workspace, "heliotrope submarine")

        assert not any(word in job.error_message for word in ("heliotrope", WEIGHTS, "Zero"))


class TestFaultThatStays:
    @pytest.mark.parametrize(
        "prompt, code", [("blank! a boat", "blank_picture"), ("invalid! a boat", "invalid_picture")]
    )
    def test_is_not_tried_again(
        self, workspace: Workspace, model: ModelVersion, prompt: str, code: str
    ) -> None:
        job = draw(workspace, prompt)

        assert (job.state, job.attempt, job.error_code) == (State.FAILED, 1, code)
        assert (available(workspace), settlements_of(job)) == (1_000, [0])

    def test_includes_a_picture_of_the_wrong_size(
        self, workspace: Workspace, model: ModelVersion, settings: Any, pictures_folder: Path
    ) -> None:
        use(settings, Oversized)

        job = draw(workspace)

        assert (job.state, job.attempt, job.error_code) == (State.FAILED, 1, "wrong_size")
        assert files_in(pictures_folder) == []

    def test_includes_a_run_beyond_the_models_limit(self, workspace: Workspace, settings: Any) -> None:
        use(settings, FakeEngine, delay_seconds=0.1)
        factories.fake_model(run_limit_seconds=0)

        job = draw(workspace)

        assert (job.state, job.attempt, job.error_code) == (State.FAILED, 1, "deadline_exceeded")
        assert available(workspace) == 1_000


class TestUnavailableModel:
    @pytest.fixture
    def failed(self, workspace: Workspace, model: ModelVersion, settings: Any) -> Job:
        use(settings, Unloadable)
        return draw(workspace)

    def test_fails_the_job_at_once_for_free(self, failed: Job, workspace: Workspace) -> None:
        assert (failed.state, failed.attempt, failed.error_code) == (State.FAILED, 1, "model_unavailable")
        assert (available(workspace), settlements_of(failed)) == (1_000, [0])

    def test_does_not_tell_the_caller_where_it_was_looked_for(self, failed: Job) -> None:
        assert "/" not in failed.error_message

    def test_is_loaded_again_when_it_is_back(
        self, failed: Job, workspace: Workspace, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        use(settings, FakeEngine)
        monkeypatch.setattr(engine, "FAILURE_SECONDS", 0.0)

        assert draw(workspace).state == State.SUCCEEDED

    def test_is_not_loaded_for_every_job_while_it_is_broken(
        self, failed: Job, workspace: Workspace, settings: Any
    ) -> None:
        use(settings, FakeEngine)

        assert draw(workspace).error_code == "model_unavailable"

    def test_leaves_a_job_alone_that_another_worker_claimed(
        self, workspace: Workspace, model: ModelVersion, settings: Any
    ) -> None:
        use(settings, Unloadable)
        job = factories.job(workspace)
        jobs.claim(job.pk, "another worker")

        assert factories.run(job).state == State.PROCESSING


class TestStorageFault:
    @pytest.fixture
    def _no_folder(self, pictures_folder: Path) -> None:
        pictures_folder.write_text("a file where a folder should be")

    @pytest.mark.usefixtures("_no_folder")
    def test_is_tried_three_times_and_costs_nothing(self, workspace: Workspace, model: ModelVersion) -> None:
        job = draw(workspace)

        assert (job.state, job.attempt, job.error_code) == (State.FAILED, 3, "storage_unavailable")
        assert (available(workspace), settlements_of(job)) == (1_000, [0])

    @pytest.mark.usefixtures("_no_folder")
    def test_does_not_tell_the_caller_of_our_folders(self, workspace: Workspace, model: ModelVersion) -> None:
        assert "/" not in draw(workspace).error_message

    @pytest.mark.usefixtures("_no_folder")
    def test_is_made_good_by_a_later_attempt(
        self, workspace: Workspace, model: ModelVersion, pictures_folder: Path
    ) -> None:
        job = factories.run(factories.job(workspace))
        pictures_folder.unlink()

        factories.drain()

        assert (fresh(job).state, fresh(job).attempt) == (State.SUCCEEDED, 2)
        assert files_in(pictures_folder) == ["2-0.png"]


class TestLostClaim:
    def test_changes_nothing(self, workspace: Workspace, model: ModelVersion, settings: Any) -> None:
        use(settings, Overtaken)

        job = factories.run(factories.job(workspace))

        assert (job.state, job.attempt, jobs.images_of(job)) == (State.QUEUED, 1, [])
        assert (held(workspace), settlements_of(job)) == (10, [])

    def test_leaves_no_picture_in_the_storage(
        self, workspace: Workspace, model: ModelVersion, settings: Any, pictures_folder: Path
    ) -> None:
        use(settings, Overtaken)

        factories.run(factories.job(workspace, num_images=2))

        assert files_in(pictures_folder) == []


class TestCancel:
    def test_stops_the_engine_and_costs_nothing(
        self, workspace: Workspace, model: ModelVersion, settings: Any, pictures_folder: Path
    ) -> None:
        use(settings, Interrupted)

        job = draw(workspace)

        assert (job.state, job.attempt, settlements_of(job)) == (State.CANCELED, 1, [0])
        assert files_in(pictures_folder) == []

    def test_delivers_and_charges_what_was_finished(
        self, workspace: Workspace, model: ModelVersion, settings: Any, pictures_folder: Path
    ) -> None:
        use(settings, HalfDone)

        job = draw(workspace, num_images=3)

        assert (job.state, settlements_of(job), available(workspace)) == (State.CANCELED, [10], 990)
        assert [image.index for image in jobs.images_of(job)] == [0]
        assert files_in(pictures_folder) == ["1-0.png"]

    def test_is_kept_when_the_attempt_fails(
        self, workspace: Workspace, model: ModelVersion, settings: Any
    ) -> None:
        use(settings, Interrupted, fail_on=["boat"])

        assert draw(workspace).state == State.CANCELED


class TestPartlyGood:
    def test_delivers_and_charges_the_images_that_are(
        self, workspace: Workspace, model: ModelVersion, settings: Any, pictures_folder: Path
    ) -> None:
        use(settings, OneBlank)

        job = draw(workspace, num_images=3)

        assert (job.state, settlements_of(job)) == (State.SUCCEEDED, [20])
        assert files_in(pictures_folder) == ["1-0.png", "1-2.png"]


class TestStoppingWorker:
    def test_gives_the_job_back_whatever_its_attempts(
        self, workspace: Workspace, model: ModelVersion, settings: Any
    ) -> None:
        use(settings, Closing)
        job = factories.job(workspace)
        change(job, attempt=MAX_ATTEMPTS - 1)

        factories.run(job)

        assert fresh(job).state == State.QUEUED

    def test_does_not_use_up_a_try(self, workspace: Workspace, model: ModelVersion, settings: Any) -> None:
        use(settings, Closing)
        job = factories.job(workspace)

        factories.run(job)

        assert (fresh(job).attempt, fresh(job).tries) == (1, 0)


class TestModeration:
    def test_keeps_a_refused_picture_out_of_the_storage(
        self, workspace: Workspace, model: ModelVersion, settings: Any, pictures_folder: Path
    ) -> None:
        judge(settings, refuse_image_indexes=[0])

        draw(workspace, num_images=3)

        assert files_in(pictures_folder) == ["1-1.png", "1-2.png"]

    def test_lets_nothing_out_when_it_is_broken(
        self, workspace: Workspace, model: ModelVersion, settings: Any, pictures_folder: Path
    ) -> None:
        settings.ATELIER_MODERATION = {"BACKEND": f"{__name__}.BrokenChecker"}

        job = draw(workspace, num_images=2)

        assert (job.state, job.error_code) == (State.FAILED, "internal_error")
        assert (files_in(pictures_folder), available(workspace)) == ([], 1_000)


class TestDatabaseFaultAfterTheCharge:
    def test_leaves_the_paid_picture_in_the_storage(
        self, workspace: Workspace, model: ModelVersion, pictures_folder: Path
    ) -> None:
        job = factories.job(workspace)

        with connection.execute_wrapper(Outage()):
            runner.run(job.pk, factories.WORKER)

        assert (fresh(job).state, settlements_of(job)) == (State.SUCCEEDED, [10])
        assert files_in(pictures_folder) == ["1-0.png"]


class TestDrain:
    def test_works_through_more_jobs_than_fit_into_the_window(
        self, workspace: Workspace, model: ModelVersion, settings: Any
    ) -> None:
        settings.WORKER_THREADS = 1
        queued = [factories.job(workspace) for _ in range(relay.PUBLISH_AHEAD + 2)]

        factories.drain()

        assert {fresh(job).state for job in queued} == {State.SUCCEEDED}
