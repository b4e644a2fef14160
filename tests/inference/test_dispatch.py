import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from accounts import ids
from gateway.celery import app
from inference import dispatch, tasks
from inference.dispatch import CeleryDispatch, InProcessDispatch
from inference.models import Job, State
from tests import factories
from tests.inference.steps import fresh


class TestGet:
    @pytest.mark.parametrize("name, kind", [("inprocess", InProcessDispatch), ("celery", CeleryDispatch)])
    def test_gives_the_configured_backend(self, settings: Any, name: str, kind: type) -> None:
        settings.DISPATCH = name

        assert type(dispatch.get()) is kind

    def test_gives_the_same_one_again(self) -> None:
        assert dispatch.get() is dispatch.get()


class TestInProcessDispatch:
    """Jobs of a test's transaction are invisible to other threads, so the threads meet ids of no job here."""

    @pytest.fixture
    def running(self, db: None, settings: Any) -> Iterator[InProcessDispatch]:
        settings.WORKER_THREADS = 2
        one = InProcessDispatch()
        one.start(factories.WORKER)
        yield one
        one.stop(timeout_seconds=5)

    def alive(self) -> int:
        return sum(thread.name.startswith("worker ") for thread in threading.enumerate())

    def test_takes_as_many_jobs_at_once_as_there_are_threads(self, settings: Any) -> None:
        settings.WORKER_THREADS = 7

        assert InProcessDispatch().capacity("fake") == 7

    def test_keeps_jobs_in_the_order_they_were_published(self) -> None:
        published = [ids.new_id() for _ in range(3)]
        idle = InProcessDispatch()

        for job_id in published:
            idle.publish("fake", job_id)

        assert [idle._jobs.get_nowait() for _ in published] == published

    def test_has_a_thread_for_each_job_at_once(self, running: InProcessDispatch) -> None:
        assert self.alive() == 2

    def test_starts_nothing_more_when_it_stops(self, running: InProcessDispatch) -> None:
        running.stop(timeout_seconds=5)
        running.publish("fake", ids.new_id())

        assert (running.is_running, self.alive()) == (False, 0)

    def test_survives_a_message_that_is_no_job(self, running: InProcessDispatch) -> None:
        for nonsense in ("no id", ids.new_id(), 7):
            running.publish("fake", nonsense)  # type: ignore[arg-type]

        assert self.alive() == 2

    def test_may_be_stopped_though_it_never_started(self) -> None:
        InProcessDispatch().stop(timeout_seconds=5)

        assert self.alive() == 0


class TestCeleryDispatch:
    @pytest.fixture
    def message(self) -> Any:
        """What a broker in memory was given for one job."""
        self.job_id = ids.new_id()
        CeleryDispatch().publish("fake", self.job_id)
        with app.connection_for_read() as connection:
            message = connection.SimpleQueue("fake").get(timeout=5)
            message.ack()
        return message

    def test_puts_the_job_into_the_queue_of_its_model(self, message: Any) -> None:
        arguments, named, _ = message.payload

        assert (arguments, named) == ([str(self.job_id)], {})

    def test_names_a_task_that_exists(self, message: Any) -> None:
        assert message.headers["task"] == tasks.run_job.name


class TestRunJobTask:
    @pytest.fixture
    def job(self, workspace: Any, model: Any) -> Job:
        return factories.job(workspace)

    def test_runs_the_job_it_names(self, job: Job) -> None:
        tasks.run_job.apply(args=(str(job.pk),), throw=True)

        assert fresh(job).state == State.SUCCEEDED

    def test_does_nothing_on_a_second_delivery(self, job: Job) -> None:
        for _ in range(2):
            tasks.run_job.apply(args=(str(job.pk),), throw=True)

        assert fresh(job).attempt == 1

    def test_survives_an_unknown_job(self, db: None) -> None:
        result = tasks.run_job.apply(args=(str(uuid.uuid4()),), throw=True)

        assert result.successful()
