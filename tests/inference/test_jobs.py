import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts import entitlements, ids
from accounts.audit import Event
from accounts.models import AuditEvent, Entitlements, Membership, Side, User, Workspace
from accounts.roles import Role, RoleForbids
from accounts.workspaces import add_member
from billing import ledger
from billing.ledger import ConcurrencyLimitReached, InsufficientCredit
from billing.models import Operation as Posting
from billing.models import PriceUnit, UsageRecord
from inference import jobs
from inference.attempts import Result, Timings
from inference.jobs import LEASE, MAX_ATTEMPTS, START_WITHIN, JobNotFound, PromptBlocked
from inference.models import IdempotencyRecord, Job, JobClass, JobContent, ModelVersion, State
from inference.requests import Caller, Delivery, ResponseFormat
from tests import factories
from tests.inference.steps import (
    TIMINGS,
    available,
    change,
    claim,
    discrepancies,
    fresh,
    held,
    judge,
    queued_messages,
    settlements_of,
    stored,
    usage_of,
)

PROMPT = "a heliotrope submarine"


def events_of(workspace: Workspace) -> list[AuditEvent]:
    return list(AuditEvent.objects.for_workspace(workspace).filter(action__startswith="job:").order_by("id"))


def seconds_until(moment: datetime | None) -> float:
    assert moment is not None
    return (moment - datetime.now(UTC)).total_seconds()


@pytest.fixture
def job(workspace: Workspace, model: ModelVersion) -> Job:
    """A queued job of one image."""
    return factories.job(workspace)


@pytest.fixture
def trio(workspace: Workspace, model: ModelVersion) -> Job:
    """A queued job of three images."""
    return factories.job(workspace, num_images=3)


@pytest.fixture(autouse=True)
def _allows_everything(settings: Any) -> None:
    judge(settings)


@pytest.fixture(autouse=True)
def _books_in_order(db: None) -> Iterator[None]:
    """Whatever a test does to a job: ledger, jobs and pictures agree at its end."""
    yield
    assert discrepancies() == []


class TestSubmit:
    def test_queues_the_job(self, job: Job) -> None:
        assert (fresh(job).state, fresh(job).attempt) == (State.QUEUED, 0)

    def test_keeps_who_asked(self, workspace: Workspace, membership: Membership, model: ModelVersion) -> None:
        caller = factories.caller(workspace, membership=membership)

        job = fresh(jobs.submit(caller, factories.request(), Delivery(ResponseFormat.B64, (("order", "7"),))))

        assert (job.workspace_id, job.membership_id, job.side) == (workspace.pk, membership.pk, Side.LIVE)
        assert (job.dialect, job.request_id) == ("native", "req_test")
        assert job.delivery == {"response_format": "b64", "metadata": {"order": "7"}}

    def test_keeps_the_price_it_was_quoted(self, trio: Job, model: ModelVersion) -> None:
        assert (trio.price_unit, trio.credits_per_image) == (PriceUnit.PER_IMAGE, 10)
        assert (trio.evaluations_per_image, trio.price_book_version) == (4, 1)

    def test_holds_the_price_of_all_images(self, trio: Job, workspace: Workspace) -> None:
        assert (available(workspace), held(workspace)) == (970, 30)

    def test_puts_one_message_into_the_outbox(self, job: Job) -> None:
        assert queued_messages() == [job.public_id]

    def test_is_audited_without_the_prompt(self, workspace: Workspace, model: ModelVersion) -> None:
        job = factories.job(workspace, PROMPT)

        (event,) = events_of(workspace)
        assert (event.action, event.target, event.prompt_hash) == (
            Event.JOB_ACCEPTED,
            job.public_id,
            job.prompt_hash,
        )
        assert "heliotrope" not in json.dumps(event.data)

    def test_writes_the_prompt_into_no_row_of_the_job(
        self, workspace: Workspace, model: ModelVersion
    ) -> None:
        job = factories.job(workspace, PROMPT)

        row = Job.objects.for_workspace(workspace).values().get(pk=job.pk)
        assert "heliotrope" not in str(row)

    def test_keeps_the_end_user_as_a_hash(self, workspace: Workspace, model: ModelVersion) -> None:
        caller = Caller(
            workspace.pk, Side.LIVE, None, None, "native", "req_test", end_user="dora@example.com"
        )

        job = jobs.submit(caller, factories.request(), Delivery())

        assert len(job.end_user_hash) == 64

    @pytest.mark.parametrize("job_class", list(JobClass))
    def test_sets_the_start_deadline_of_the_class(
        self, workspace: Workspace, model: ModelVersion, job_class: JobClass
    ) -> None:
        caller = Caller(workspace.pk, Side.LIVE, None, None, "native", "req_test", job_class=job_class)

        job = jobs.submit(caller, factories.request(), Delivery())

        assert job.start_deadline_at == job.created_at + START_WITHIN[job_class]

    def test_takes_play_credits_on_the_test_side(self, workspace: Workspace, model: ModelVersion) -> None:
        jobs.submit(factories.caller(workspace, side=Side.TEST), factories.request(), Delivery())

        assert (available(workspace), available(workspace, Side.TEST)) == (1_000, 999_990)

    @pytest.mark.parametrize("role", [Role.VIEWER, Role.BILLING])
    def test_refuses_a_member_who_may_not_generate(
        self, workspace: Workspace, bob: User, model: ModelVersion, role: Role
    ) -> None:
        caller = factories.caller(workspace, membership=add_member(workspace, bob, role))

        with pytest.raises(RoleForbids):
            jobs.submit(caller, factories.request(), Delivery())

        assert not Job.objects.for_workspace(workspace).exists()


class TestSubmitOfABlockedPrompt:
    @pytest.fixture
    def blocked(self, workspace: Workspace, model: ModelVersion, settings: Any) -> Job:
        judge(settings, block_words=["forbidden"])
        with pytest.raises(PromptBlocked) as refused:
            factories.job(workspace, "a forbidden boat")
        return refused.value.job

    def test_leaves_a_blocked_job(self, blocked: Job) -> None:
        row = fresh(blocked)

        assert (row.state, row.error_code, row.is_flagged) == (State.BLOCKED, "prompt_blocked", True)
        assert (row.moderation_category, row.moderation_rule) == ("fake", "fake.block-word")

    def test_takes_no_credits(self, blocked: Job, workspace: Workspace) -> None:
        balance = ledger.balance(workspace.pk)

        assert (balance.available_credits, balance.held_credits, balance.open_holds) == (1_000, 0, 0)

    def test_queues_nothing(self, blocked: Job) -> None:
        assert queued_messages() == []
        assert jobs.claim(blocked.pk, factories.WORKER) is None

    def test_is_audited_as_blocked(self, blocked: Job, workspace: Workspace) -> None:
        (event,) = events_of(workspace)

        assert (event.action, event.data["category"]) == (Event.JOB_BLOCKED, "fake")
        assert "forbidden" not in json.dumps(event.data)

    def test_says_no_word_of_the_prompt(self, blocked: Job) -> None:
        assert "forbidden" not in f"{PromptBlocked(blocked)} {blocked.error_message}"

    def test_needs_no_credit(self, charlies_workspace: Workspace, model: ModelVersion, settings: Any) -> None:
        judge(settings, block_words=["forbidden"])

        with pytest.raises(PromptBlocked):
            factories.job(charlies_workspace, "a forbidden boat")


class TestSubmitWithoutCredit:
    def test_says_what_is_needed_and_what_there_is(
        self, charlies_workspace: Workspace, model: ModelVersion
    ) -> None:
        with pytest.raises(InsufficientCredit) as refused:
            factories.job(charlies_workspace, num_images=2)

        assert (refused.value.required, refused.value.available) == (20, 0)

    def test_leaves_no_rows_at_all(self, charlies_workspace: Workspace, model: ModelVersion) -> None:
        with pytest.raises(InsufficientCredit):
            jobs.submit(
                factories.caller(charlies_workspace), factories.request(), Delivery(), idempotency_key="once"
            )

        tables = (Job, JobContent, IdempotencyRecord, Posting)
        kept = [table for table in tables if table.objects.for_workspace(charlies_workspace).exists()]
        assert kept == [Posting]  # the play credits of the other side
        assert events_of(charlies_workspace) == []
        assert queued_messages() == []

    def test_lets_the_same_key_through_after_a_grant(
        self, charlies_workspace: Workspace, model: ModelVersion
    ) -> None:
        caller = factories.caller(charlies_workspace)
        with pytest.raises(InsufficientCredit):
            jobs.submit(caller, factories.request(), Delivery(), idempotency_key="once")
        ledger.grant(charlies_workspace.pk, 10, ledger.Source.PROMOTIONAL, "test:top-up")

        job = jobs.submit(caller, factories.request(), Delivery(), idempotency_key="once")

        assert job.state == State.QUEUED

    def test_spends_the_last_credit(self, workspace: Workspace, model: ModelVersion) -> None:
        for _ in range(10):
            factories.job(workspace, num_images=10)

        with pytest.raises(InsufficientCredit):
            factories.job(workspace)

        assert available(workspace) == 0

    def test_refuses_more_unfinished_jobs_than_allowed(
        self, workspace: Workspace, model: ModelVersion
    ) -> None:
        Entitlements.objects.create(workspace=workspace, concurrent_jobs=2)
        for _ in range(entitlements.of(workspace.pk).concurrent_jobs):
            factories.job(workspace)

        with pytest.raises(ConcurrencyLimitReached):
            factories.job(workspace)

        assert Job.objects.for_workspace(workspace).count() == 2

    def test_lets_the_next_job_in_when_one_ends(self, workspace: Workspace, model: ModelVersion) -> None:
        Entitlements.objects.create(workspace=workspace, concurrent_jobs=1)
        factories.run(factories.job(workspace))

        assert factories.job(workspace).state == State.QUEUED


class TestGet:
    def test_finds_ones_own(self, job: Job, workspace: Workspace) -> None:
        assert jobs.get(factories.caller(workspace), job.pk) == job

    def test_finds_nothing_of_another_workspace(self, job: Job, charlies_workspace: Workspace) -> None:
        with pytest.raises(JobNotFound):
            jobs.get(factories.caller(charlies_workspace), job.pk)

    def test_finds_nothing_of_the_other_side(self, job: Job, workspace: Workspace) -> None:
        with pytest.raises(JobNotFound):
            jobs.get(factories.caller(workspace, side=Side.TEST), job.pk)

    def test_finds_nothing_that_never_was(self, workspace: Workspace) -> None:
        with pytest.raises(JobNotFound):
            jobs.get(factories.caller(workspace), ids.new_id())

    def test_shows_a_member_only_their_own(
        self, job: Job, workspace: Workspace, bobs_membership: Membership
    ) -> None:
        bob = factories.caller(workspace, membership=bobs_membership)
        bobs = jobs.submit(bob, factories.request(), Delivery())

        assert list(jobs.visible_to(bob)) == [bobs]

    def test_shows_the_owner_everybodys(
        self, workspace: Workspace, membership: Membership, bobs_membership: Membership, model: ModelVersion
    ) -> None:
        bobs = jobs.submit(
            factories.caller(workspace, membership=bobs_membership), factories.request(), Delivery()
        )

        assert jobs.get(factories.caller(workspace, membership=membership), bobs.pk) == bobs


class TestClaim:
    def test_makes_the_job_this_workers_own(self, job: Job) -> None:
        jobs.claim(job.pk, "worker 1")

        row = fresh(job)
        assert (row.state, row.attempt, row.worker) == (State.PROCESSING, 1, "worker 1")
        assert row.started_at is not None

    def test_gives_what_is_to_be_drawn(self, workspace: Workspace, model: ModelVersion) -> None:
        job = factories.job(workspace, PROMPT, negative_prompt="fog", num_images=2, scheduler="heun", seed=5)

        request = claim(job).request

        assert (request.prompt, request.negative_prompt) == (PROMPT, "fog")
        assert (request.num_images, request.scheduler, request.seed) == (2, "heun", 5)

    def test_lasts_for_a_lease(self, job: Job) -> None:
        claim(job)

        assert LEASE.total_seconds() - 5 < seconds_until(fresh(job).lease_until) <= LEASE.total_seconds()

    def test_takes_the_message_out_of_the_outbox(self, job: Job) -> None:
        claim(job)

        assert queued_messages() == []

    def test_happens_only_once(self, job: Job) -> None:
        claim(job)

        assert jobs.claim(job.pk, "another worker") is None
        assert fresh(job).worker == factories.WORKER

    def test_counts_the_attempts(self, job: Job) -> None:
        jobs.retry(claim(job), "engine_failed", "No picture.")

        assert claim(job).attempt == 2

    def test_comes_too_late_after_the_start_deadline(self, job: Job) -> None:
        change(job, start_deadline_at=job.created_at - timedelta(seconds=1))

        assert jobs.claim(job.pk, factories.WORKER) is None
        assert fresh(job).state == State.QUEUED

    def test_finds_nothing_under_an_unknown_id(self, workspace: Workspace) -> None:
        assert jobs.claim(ids.new_id(), factories.WORKER) is None

    @pytest.mark.parametrize("state", ["succeeded", "failed", "canceled"])
    def test_finds_nothing_to_do_in_an_ended_job(self, job: Job, state: str) -> None:
        mine = claim(job)
        end = {
            "succeeded": lambda: jobs.complete(mine, Result(stored(mine), TIMINGS)),
            "failed": lambda: jobs.fail(mine, "engine_failed", "No picture."),
            "canceled": lambda: jobs.complete(mine, Result([], is_canceled=True)),
        }
        end[state]()

        assert jobs.claim(job.pk, factories.WORKER) is None
        assert fresh(job).state == state

    def test_fails_a_job_whose_words_are_gone(self, job: Job, workspace: Workspace) -> None:
        JobContent.objects.for_workspace(workspace).filter(job=job).delete()

        assert jobs.claim(job.pk, factories.WORKER) is None
        assert (fresh(job).state, fresh(job).error_code) == (State.FAILED, "content_gone")
        assert available(workspace) == 1_000


class TestRenew:
    def test_lengthens_the_lease(self, job: Job) -> None:
        mine = claim(job)
        change(job, lease_until=datetime.now(UTC) + timedelta(seconds=1))

        assert jobs.renew(mine)
        assert seconds_until(fresh(job).lease_until) > 20

    def test_says_when_the_claim_is_lost(self, job: Job) -> None:
        mine = claim(job)
        jobs.retry(mine, "engine_failed", "No picture.")

        assert not jobs.renew(mine)


class TestComplete:
    def test_ends_the_job_with_its_timings(self, job: Job) -> None:
        mine = claim(job)

        assert jobs.complete(mine, Result(stored(mine), TIMINGS))

        row = fresh(job)
        assert (row.state, row.lease_until) == (State.SUCCEEDED, None)
        assert (row.generate_ms, row.gpu_ms, row.store_ms) == (40, 30, 5)
        assert row.finished_at is not None

    def test_lists_the_pictures_in_order(self, trio: Job) -> None:
        mine = claim(trio)

        jobs.complete(mine, Result(stored(mine, 3), TIMINGS))

        images = jobs.images_of(trio)
        assert [(image.index, image.seed, image.attempt) for image in images] == [
            (0, 7, 1),
            (1, 8, 1),
            (2, 9, 1),
        ]

    def test_charges_the_held_credits(self, trio: Job, workspace: Workspace) -> None:
        mine = claim(trio)

        jobs.complete(mine, Result(stored(mine, 3), TIMINGS))

        assert (available(workspace), held(workspace), fresh(trio).captured_credits) == (970, 0, 30)

    def test_writes_what_was_used(self, trio: Job) -> None:
        mine = claim(trio)

        jobs.complete(mine, Result(stored(mine, 3), TIMINGS))

        used = usage_of(trio)
        assert (used.sku, used.images, used.credits) == ("fake@1", 3, 30)
        assert (used.pixels, used.evaluations, used.gpu_ms) == (3 * 64 * 64, 12, 30)

    def test_charges_only_what_is_delivered(self, trio: Job, workspace: Workspace) -> None:
        mine = claim(trio)

        jobs.complete(mine, Result(stored(mine, 2), TIMINGS))

        assert (available(workspace), held(workspace), usage_of(trio).images) == (980, 0, 2)

    def test_is_free_and_blocked_without_a_picture(self, trio: Job, workspace: Workspace) -> None:
        jobs.complete(claim(trio), Result([], TIMINGS))

        assert (fresh(trio).state, fresh(trio).error_code) == (State.BLOCKED, "pictures_blocked")
        assert (available(workspace), held(workspace)) == (1_000, 0)
        assert not UsageRecord.objects.for_workspace(workspace).exists()

    def test_happens_only_once(self, job: Job, workspace: Workspace) -> None:
        mine = claim(job)
        jobs.complete(mine, Result(stored(mine), TIMINGS))

        assert not jobs.complete(mine, Result(stored(mine), TIMINGS))
        assert settlements_of(job) == [10]

    def test_delivers_though_a_cancel_came_late(self, job: Job, workspace: Workspace) -> None:
        mine = claim(job)
        jobs.cancel(factories.caller(workspace), job.pk)

        assert jobs.complete(mine, Result(stored(mine), TIMINGS))
        assert fresh(job).state == State.SUCCEEDED


class TestModeratedPictures:
    def test_leave_the_others_to_deliver_and_charge(
        self, trio: Job, workspace: Workspace, settings: Any
    ) -> None:
        judge(settings, refuse_image_indexes=[1])

        job = factories.run(trio)

        assert [image.index for image in jobs.images_of(job)] == [0, 2]
        assert (job.state, job.captured_credits, available(workspace)) == (State.SUCCEEDED, 20, 980)

    def test_keep_the_seeds_of_their_places(self, trio: Job, settings: Any) -> None:
        judge(settings, refuse_image_indexes=[0])

        job = factories.run(trio)

        assert [image.seed for image in jobs.images_of(job)] == [8, 9]

    def test_block_the_job_when_none_is_left(self, trio: Job, workspace: Workspace, settings: Any) -> None:
        judge(settings, refuse_image_indexes=[0, 1, 2])

        job = factories.run(trio)

        assert (job.state, job.error_code) == (State.BLOCKED, "pictures_blocked")
        assert (available(workspace), settlements_of(job)) == (1_000, [0])


class TestFail:
    def test_ends_the_job_with_a_reason(self, job: Job) -> None:
        assert jobs.fail(claim(job), "engine_failed", "No picture.")

        row = fresh(job)
        assert (row.state, row.error_code, row.error_message) == (
            State.FAILED,
            "engine_failed",
            "No picture.",
        )

    def test_costs_nothing(self, trio: Job, workspace: Workspace) -> None:
        jobs.fail(claim(trio), "engine_failed", "No picture.")

        assert (available(workspace), held(workspace), settlements_of(trio)) == (1_000, 0, [0])

    def test_cuts_a_long_reason(self, job: Job) -> None:
        jobs.fail(claim(job), "engine_failed", "x" * 2_000)

        assert len(fresh(job).error_message) == 500


class TestRetry:
    def test_puts_the_job_back_into_the_queue(self, job: Job, workspace: Workspace) -> None:
        assert jobs.retry(claim(job), "engine_failed", "No picture.")

        row = fresh(job)
        assert (row.state, row.worker, row.lease_until) == (State.QUEUED, "", None)
        assert queued_messages() == [job.public_id]

    def test_keeps_the_hold(self, job: Job, workspace: Workspace) -> None:
        jobs.retry(claim(job), "engine_failed", "No picture.")

        assert (available(workspace), held(workspace), settlements_of(job)) == (990, 10, [])

    def test_gives_a_new_start_deadline(self, job: Job) -> None:
        mine = claim(job)
        change(job, start_deadline_at=job.created_at - timedelta(seconds=1))

        jobs.retry(mine, "engine_failed", "No picture.")

        assert seconds_until(fresh(job).start_deadline_at) > 500

    def test_fails_after_the_last_attempt(self, job: Job, workspace: Workspace) -> None:
        for _ in range(MAX_ATTEMPTS):
            assert jobs.retry(claim(job), "engine_failed", "No picture.")

        row = fresh(job)
        assert (row.state, row.attempt, row.error_code) == (State.FAILED, 3, "engine_failed")
        assert (available(workspace), settlements_of(job)) == (1_000, [0])

    def test_does_not_draw_for_a_caller_who_asked_to_stop(self, job: Job, workspace: Workspace) -> None:
        mine = claim(job)
        jobs.cancel(factories.caller(workspace), job.pk)

        jobs.retry(mine, "engine_failed", "No picture.")

        assert fresh(job).state == State.CANCELED


class TestLostClaim:
    """The first attempt was given up; a second worker has the job."""

    @pytest.fixture
    def lost(self, job: Job) -> jobs.Claim:
        first = claim(job)
        jobs.recover(fresh(job))
        claim(job, "second worker")
        return first

    def unchanged(self, job: Job) -> bool:
        row = fresh(job)
        return (row.state, row.attempt, row.worker) == (State.PROCESSING, 2, "second worker")

    def test_cannot_complete(self, lost: jobs.Claim, job: Job, workspace: Workspace) -> None:
        assert not jobs.complete(lost, Result(stored(lost), TIMINGS))

        assert self.unchanged(job)
        assert (jobs.images_of(job), held(workspace)) == ([], 10)

    def test_cannot_fail(self, lost: jobs.Claim, job: Job, workspace: Workspace) -> None:
        assert not jobs.fail(lost, "engine_failed", "No picture.")

        assert self.unchanged(job)
        assert held(workspace) == 10

    def test_cannot_retry(self, lost: jobs.Claim, job: Job) -> None:
        assert not jobs.retry(lost, "engine_failed", "No picture.")

        assert self.unchanged(job)
        assert queued_messages() == []

    def test_cannot_cancel(self, lost: jobs.Claim, job: Job, workspace: Workspace) -> None:
        assert not jobs.complete(lost, Result([], is_canceled=True))

        assert self.unchanged(job)
        assert held(workspace) == 10

    def test_cannot_lengthen_the_lease(self, lost: jobs.Claim, job: Job) -> None:
        assert not jobs.renew(lost)

    def test_hears_of_no_cancel(self, lost: jobs.Claim, job: Job, workspace: Workspace) -> None:
        jobs.cancel(factories.caller(workspace), job.pk)

        assert not jobs.is_cancel_requested(lost)

    def test_leaves_the_second_worker_to_complete(
        self, lost: jobs.Claim, job: Job, workspace: Workspace
    ) -> None:
        jobs.fail(lost, "engine_failed", "No picture.")
        second = jobs.Claim(fresh(job), 2, lost.request)

        assert jobs.complete(second, Result(stored(second), TIMINGS))
        assert (settlements_of(job), available(workspace)) == ([10], 990)


class TestCancel:
    def test_ends_a_queued_job_at_once(self, job: Job, workspace: Workspace) -> None:
        canceled = jobs.cancel(factories.caller(workspace), job.pk)

        assert (canceled.state, canceled.error_code) == (State.CANCELED, "canceled")
        assert (available(workspace), queued_messages()) == (1_000, [])

    def test_asks_a_running_job_to_stop(self, job: Job, workspace: Workspace) -> None:
        mine = claim(job)

        canceled = jobs.cancel(factories.caller(workspace), job.pk)

        assert canceled.state == State.PROCESSING
        assert jobs.is_cancel_requested(mine)
        assert held(workspace) == 10

    def test_costs_nothing_when_the_worker_stops(self, job: Job, workspace: Workspace) -> None:
        mine = claim(job)
        jobs.cancel(factories.caller(workspace), job.pk)

        assert jobs.complete(mine, Result([], is_canceled=True))
        assert (fresh(job).state, settlements_of(job)) == (State.CANCELED, [0])

    def test_leaves_an_ended_job_as_it_is(self, job: Job, workspace: Workspace) -> None:
        done = factories.run(job)

        again = jobs.cancel(factories.caller(workspace), job.pk)

        assert (again.state, again.finished_at) == (State.SUCCEEDED, done.finished_at)
        assert settlements_of(job) == [10]

    def test_may_be_asked_twice(self, job: Job, workspace: Workspace) -> None:
        claim(job)
        first = jobs.cancel(factories.caller(workspace), job.pk)

        second = jobs.cancel(factories.caller(workspace), job.pk)

        assert second.cancel_requested_at == first.cancel_requested_at
        assert [event.action for event in events_of(workspace)] == [Event.JOB_ACCEPTED, Event.JOB_CANCELED]

    def test_is_audited_for_a_queued_job(self, job: Job, workspace: Workspace) -> None:
        jobs.cancel(factories.caller(workspace), job.pk)

        assert events_of(workspace)[-1].action == Event.JOB_CANCELED

    def test_is_not_audited_for_an_ended_job(self, job: Job, workspace: Workspace) -> None:
        factories.run(job)

        jobs.cancel(factories.caller(workspace), job.pk)

        assert [event.action for event in events_of(workspace)] == [Event.JOB_ACCEPTED]

    def test_does_not_reach_another_workspaces_job(self, job: Job, charlies_workspace: Workspace) -> None:
        with pytest.raises(JobNotFound):
            jobs.cancel(factories.caller(charlies_workspace), job.pk)

        assert fresh(job).state == State.QUEUED


class TestExpire:
    def test_fails_a_queued_job_for_free(self, job: Job, workspace: Workspace) -> None:
        assert jobs.expire(fresh(job))

        assert (fresh(job).state, fresh(job).error_code) == (State.FAILED, "expired")
        assert (available(workspace), queued_messages()) == (1_000, [])

    def test_leaves_a_job_that_was_claimed_meanwhile(self, job: Job) -> None:
        claim(job)

        assert not jobs.expire(fresh(job))
        assert fresh(job).state == State.PROCESSING


class TestRecover:
    def test_puts_the_job_back_with_its_hold(self, job: Job, workspace: Workspace) -> None:
        claim(job)

        assert jobs.recover(fresh(job))
        assert (fresh(job).state, held(workspace), queued_messages()) == (
            State.QUEUED,
            10,
            [job.public_id],
        )

    def test_fails_after_the_last_attempt(self, job: Job, workspace: Workspace) -> None:
        for _ in range(MAX_ATTEMPTS):
            claim(job)
            jobs.recover(fresh(job))

        assert (fresh(job).state, fresh(job).error_code) == (State.FAILED, "attempts_exhausted")
        assert available(workspace) == 1_000

    def test_cancels_where_the_caller_asked(self, job: Job, workspace: Workspace) -> None:
        claim(job)
        jobs.cancel(factories.caller(workspace), job.pk)

        assert jobs.recover(fresh(job))
        assert (fresh(job).state, available(workspace)) == (State.CANCELED, 1_000)

    def test_leaves_a_job_whose_lease_was_renewed_meanwhile(self, job: Job) -> None:
        mine = claim(job)
        seen = fresh(job)
        change(job, lease_until=datetime.now(UTC) + LEASE * 2)

        assert not jobs.recover(seen)
        assert jobs.renew(mine)


class TestPriceByTheSecond:
    """10 credits a GPU second; two images may take 4 seconds in all."""

    @pytest.fixture
    def timed(self, workspace: Workspace) -> Job:
        factories.fake_model("timed", unit=PriceUnit.PER_SECOND, run_limit_seconds=4)
        return factories.job(workspace, model="timed", num_images=2)

    def test_holds_the_longest_run(self, timed: Job, workspace: Workspace) -> None:
        assert (timed.credits_per_image, held(workspace)) == (20, 40)

    @pytest.mark.parametrize("gpu_ms, charged", [(0, 0), (1, 2), (1_000, 10), (1_001, 12), (9_000, 40)])
    def test_charges_what_was_used_and_never_more_than_held(
        self, timed: Job, workspace: Workspace, gpu_ms: int, charged: int
    ) -> None:
        mine = claim(timed)

        jobs.complete(mine, Result(stored(mine, 2), Timings(gpu_ms=gpu_ms)))

        assert (fresh(timed).captured_credits, usage_of(timed).credits) == (charged, charged)
        assert (available(workspace), held(workspace)) == (1_000 - charged, 0)


class TestSettlement:
    @pytest.mark.parametrize(
        "prompt, state, charged",
        [
            ("a red boat", State.SUCCEEDED, 10),
            ("fail! a boat", State.FAILED, 0),
            ("blank! a boat", State.FAILED, 0),
            ("invalid! a boat", State.FAILED, 0),
        ],
    )
    def test_happens_exactly_once(
        self, workspace: Workspace, model: ModelVersion, prompt: str, state: State, charged: int
    ) -> None:
        job = factories.job(workspace, prompt)

        factories.drain()

        assert (fresh(job).state, settlements_of(job)) == (state, [charged])
        assert ledger.balance(workspace.pk).open_holds == 0

    def test_leaves_the_live_side_alone_on_the_test_side(
        self, workspace: Workspace, model: ModelVersion
    ) -> None:
        caller = factories.caller(workspace, side=Side.TEST)
        job = factories.run(jobs.submit(caller, factories.request(), Delivery()))

        assert (job.state, available(workspace)) == (State.SUCCEEDED, 1_000)
        assert usage_of(job).revenue_micros == 0
