import uuid
from collections.abc import Iterator

import pytest

from accounts import ids
from inference import progress
from inference.progress import Progress


@pytest.fixture
def job_id() -> Iterator[uuid.UUID]:
    job_id = ids.new_id()
    yield job_id
    progress.forget(job_id)


class TestPublish:
    def test_shows_the_latest_step(self, job_id: uuid.UUID) -> None:
        for step in range(3):
            progress.publish(job_id, step, 20)

        assert progress.latest(job_id) == Progress(2, 20)

    def test_shows_nothing_of_a_job_that_does_not_run_here(self, job_id: uuid.UUID) -> None:
        assert progress.latest(job_id) is None

    def test_keeps_jobs_apart(self, job_id: uuid.UUID) -> None:
        progress.publish(job_id, 1, 20)

        assert progress.latest(ids.new_id()) is None


class TestAskToCancel:
    def test_reaches_a_job_that_runs_here(self, job_id: uuid.UUID) -> None:
        progress.publish(job_id, 1, 20)

        progress.ask_to_cancel(job_id)

        assert progress.is_canceled(job_id)

    def test_is_not_kept_for_a_job_that_runs_elsewhere(self, job_id: uuid.UUID) -> None:
        progress.ask_to_cancel(job_id)

        progress.publish(job_id, 1, 20)

        assert not progress.is_canceled(job_id)

    def test_outlives_the_next_step(self, job_id: uuid.UUID) -> None:
        progress.publish(job_id, 1, 20)
        progress.ask_to_cancel(job_id)

        progress.publish(job_id, 2, 20)

        assert progress.is_canceled(job_id)


class TestForget:
    def test_takes_step_and_request_away(self, job_id: uuid.UUID) -> None:
        progress.publish(job_id, 1, 20)
        progress.ask_to_cancel(job_id)

        progress.forget(job_id)

        assert (progress.latest(job_id), progress.is_canceled(job_id)) == (None, False)

    def test_may_be_called_for_nothing(self, job_id: uuid.UUID) -> None:
        progress.forget(job_id)

        assert progress.latest(job_id) is None
