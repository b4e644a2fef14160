from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts import audit_seals, ids, workspaces
from accounts.models import OutboxMessage, Workspace, WorkspaceKeyring
from billing import ledger
from billing.models import Source
from inference import (
    content,
    image_deletion,
    job_deletion,
    jobs,
    relay,
    retention,
    sweeper,
    workspace_deletion,
)
from inference.jobs import MAX_ATTEMPTS
from inference.models import Image, Job, JobContent, ModelVersion, State
from inference.sweeper import REPUBLISH_AFTER, REPUBLISH_ANYWAY, Swept
from tests import factories
from tests.inference.steps import (
    available,
    change,
    claim,
    discrepancies,
    fresh,
    held,
    judge,
    queued_messages,
    settlements_of,
)

NOTHING = Swept(**{field.name: 0 for field in fields(Swept)})


@pytest.fixture(autouse=True)
def _books_in_order(db: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    judge(settings)
    rested = audit_seals.Rounds()
    rested.seal(datetime.now(UTC))
    monkeypatch.setattr(sweeper, "sealing", rested)
    yield
    assert discrepancies() == []


@pytest.fixture
def job(workspace: Workspace, model: ModelVersion) -> Job:
    return factories.job(workspace)


def ago(**age: float) -> datetime:
    return datetime.now(UTC) - timedelta(**age)


def lose_worker(job: Job, worker: str = factories.WORKER) -> None:
    """A worker claimed the job and went silent: its lease ran out."""
    claim(job, worker)
    change(job, lease_until=ago(seconds=1))


class TestRunOnce:
    def test_leaves_a_healthy_house_alone(self, job: Job, workspace: Workspace) -> None:
        claim(factories.job(workspace))
        factories.run(factories.job(workspace))

        assert sweeper.run_once() == NOTHING
        assert fresh(job).state == State.QUEUED

    def test_is_safe_to_do_twice(self, job: Job) -> None:
        lose_worker(job)
        sweeper.run_once()

        assert sweeper.run_once() == NOTHING


class TestSilentWorker:
    def test_gives_its_job_back_to_the_queue(self, job: Job) -> None:
        lose_worker(job)

        assert sweeper.run_once().recovered == 1
        assert (fresh(job).state, queued_messages()) == (State.QUEUED, [job.public_id])

    def test_keeps_the_hold_of_its_job(self, job: Job, workspace: Workspace) -> None:
        lose_worker(job)
        sweeper.run_once()

        assert (available(workspace), held(workspace), settlements_of(job)) == (990, 10, [])

    def test_lets_another_worker_finish(self, job: Job) -> None:
        lose_worker(job)
        sweeper.run_once()

        done = factories.run(job)

        assert (done.state, done.attempt, settlements_of(job)) == (State.SUCCEEDED, 2, [10])

    def test_fails_the_job_the_third_time(self, job: Job, workspace: Workspace) -> None:
        for _ in range(MAX_ATTEMPTS):
            lose_worker(job)
            sweeper.run_once()

        assert (fresh(job).state, fresh(job).error_code) == (State.FAILED, "attempts_exhausted")
        assert (available(workspace), settlements_of(job)) == (1_000, [0])

    def test_frees_the_job_of_a_caller_who_asked_to_stop(self, job: Job, workspace: Workspace) -> None:
        lose_worker(job)
        jobs.cancel(factories.caller(workspace), job.pk)

        sweeper.run_once()

        assert (fresh(job).state, available(workspace)) == (State.CANCELED, 1_000)

    def test_keeps_its_job_while_the_lease_lasts(self, job: Job) -> None:
        claim(job)

        assert sweeper.run_once().recovered == 0
        assert fresh(job).state == State.PROCESSING


class TestLateJob:
    def test_is_failed_and_costs_nothing(self, job: Job, workspace: Workspace) -> None:
        change(job, start_deadline_at=ago(seconds=1))

        assert sweeper.run_once().expired == 1
        assert (fresh(job).state, fresh(job).error_code) == (State.FAILED, "expired")
        assert (available(workspace), settlements_of(job)) == (1_000, [0])

    def test_leaves_the_outbox(self, job: Job) -> None:
        change(job, start_deadline_at=ago(seconds=1))

        sweeper.run_once()

        assert queued_messages() == []

    def test_is_no_longer_late_once_it_runs(self, job: Job) -> None:
        claim(job)
        change(job, start_deadline_at=ago(seconds=1))

        assert sweeper.run_once() == NOTHING


class TestLostMessage:
    def test_is_published_again(self, job: Job) -> None:
        relay.run_once()
        OutboxMessage.objects.update(published_at=ago(seconds=REPUBLISH_AFTER.total_seconds() + 1))

        assert sweeper.run_once().republished == 1
        assert relay.run_once() == 1

    def test_is_published_again_in_the_end_though_others_move(self, job: Job, workspace: Workspace) -> None:
        relay.run_once()
        OutboxMessage.objects.update(published_at=ago(seconds=REPUBLISH_ANYWAY.total_seconds() + 10))
        claim(factories.job(workspace))

        assert sweeper.run_once().republished == 1

    def test_waits_while_others_of_its_model_are_claimed(self, job: Job, workspace: Workspace) -> None:
        relay.run_once()
        OutboxMessage.objects.update(published_at=ago(seconds=REPUBLISH_AFTER.total_seconds() + 10))
        claim(factories.job(workspace))

        assert sweeper.run_once().republished == 0

    def test_is_given_time_to_arrive(self, job: Job) -> None:
        relay.run_once()
        OutboxMessage.objects.update(published_at=ago(seconds=REPUBLISH_AFTER.total_seconds() - 10))

        assert sweeper.run_once().republished == 0


class TestExpiredGrant:
    def test_takes_what_is_left_of_it(self, workspace: Workspace) -> None:
        ledger.grant(workspace.pk, 50, Source.PROMOTIONAL, "test:old", expires_at=ago(seconds=1))

        assert sweeper.run_once().expired_grants == 1
        assert available(workspace) == 1_000

    def test_leaves_a_grant_that_still_holds(self, workspace: Workspace) -> None:
        ledger.grant(workspace.pk, 50, Source.PROMOTIONAL, "test:new", expires_at=ago(hours=-1))

        assert sweeper.run_once() == NOTHING
        assert available(workspace) == 1_050


class TestExpiredWords:
    def test_are_deleted_when_the_job_is_over(self, job: Job) -> None:
        factories.run(job)
        JobContent.objects.across_workspaces().update(expires_at=ago(seconds=1))

        assert sweeper.run_once().forgotten == 1
        assert content.read(job) is None

    def test_are_kept_for_a_job_that_needs_them(self, job: Job) -> None:
        JobContent.objects.across_workspaces().update(expires_at=ago(seconds=1))

        assert sweeper.run_once().forgotten == 0

    def test_are_kept_until_then(self, job: Job) -> None:
        JobContent.objects.across_workspaces().update(expires_at=ago(seconds=-60))

        assert sweeper.run_once().forgotten == 0


class TestAuditLog:
    def test_is_sealed_once_a_minute(self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sweeper, "sealing", audit_seals.Rounds())

        assert [sweeper.run_once().sealed, sweeper.run_once().sealed] == [1, 0]


class TestRetention:
    @pytest.fixture(autouse=True)
    def _awake(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """No earlier test's round makes the clean-ups rest."""
        steps = {
            "hiding": image_deletion.hide_old,
            "clearing": job_deletion.delete_old,
            "closing": workspace_deletion.advance_due,
        }
        for name, step in steps.items():
            monkeypatch.setattr(sweeper, name, retention.Rounds(step))

    def test_hides_old_pictures_and_deletes_their_bytes(self, job: Job) -> None:
        factories.run(job)
        Image.objects.across_workspaces().update(created_at=ago(days=91))

        swept = sweeper.run_once()

        assert (swept.hidden_images, swept.erased_images) == (1, 1)

    def test_deletes_old_jobs(self, job: Job) -> None:
        factories.run(job)
        change(job, finished_at=ago(days=181))

        assert sweeper.run_once().deleted_jobs == 1

    def test_deletes_workspaces_whose_date_has_come(self, workspace: Workspace) -> None:
        workspaces.close(workspace.pk, ago(days=31))

        while sweeper.run_once().deletion_steps:
            pass

        assert not WorkspaceKeyring.objects.filter(workspace=workspace).exists()

    def test_asks_seldom_where_there_is_nothing_to_do(self, job: Job) -> None:
        sweeper.run_once()
        factories.run(job)
        change(job, finished_at=ago(days=181))

        assert sweeper.run_once().deleted_jobs == 0


class TestFault:
    def test_in_one_job_does_not_keep_the_others(self, job: Job) -> None:
        change(job, start_deadline_at=ago(seconds=1))
        without_hold = fresh(job)
        without_hold.pk = ids.new_id()
        without_hold.start_deadline_at = ago(seconds=2)
        without_hold.save(force_insert=True)

        assert sweeper.run_once().expired == 1
        assert fresh(job).state == State.FAILED
        without_hold.delete()


class TestRecoverFrom:
    def test_takes_back_the_jobs_of_a_dead_worker_at_once(self, job: Job) -> None:
        claim(job, "dead worker")

        assert sweeper.recover_from("dead worker") == 1
        assert fresh(job).state == State.QUEUED

    def test_leaves_the_jobs_of_others(self, job: Job) -> None:
        claim(job, "busy worker")

        assert sweeper.recover_from("dead worker") == 0
        assert fresh(job).state == State.PROCESSING

    def test_leaves_jobs_that_the_worker_ended(self, job: Job) -> None:
        factories.run(job)

        assert sweeper.recover_from(factories.WORKER) == 0

    def test_sends_messages_again_that_died_with_it(self, job: Job) -> None:
        relay.run_once()
        OutboxMessage.objects.update(published_at=ago(seconds=1))

        sweeper.recover_from("dead worker")

        assert relay.run_once() == 1
