"""The life of a job. This module is the only writer of its state.

    queued --claim--> processing --complete--> succeeded | blocked (all pictures refused)
       ^                  |  \\----fail-------> failed
       |                  |   \\---cancel-----> canceled
       \\--- retry --------/
    queued --cancel--> canceled        queued --expire--> failed        (blocked prompt) --> blocked

Accepting is one transaction, ending is one transaction. Every change of state is an UPDATE that names the old
state and, for a worker, its attempt: whoever changes one row has won, everybody else has lost and does nothing.
Each end settles the hold exactly once.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import IntegrityError
from django.db.models import F, QuerySet

from accounts import audit, clock, outbox, roles, tenancy, workspaces
from accounts.audit import Event
from accounts.inserts import insert, together
from accounts.keyring import KeyedHash
from accounts.models import Side
from accounts.outbox import Topic
from billing import ledger
from inference import bus, content, idempotency, job_log, preparation, progress, quotas, settlement, waiting
from inference.attempts import CANCELED, Claim, Result, StoredPicture
from inference.models import Image, Job, JobClass, State
from inference.preparation import Prepared, Tenant
from inference.requests import Caller, Delivery, GenerationRequest, Operation, ResolvedRequest

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=30)
MAX_ATTEMPTS = 3
RETRY_AFTER = (timedelta(seconds=2), timedelta(seconds=10))  # after the first attempt, after later ones
TEST_RANK = 9  # play credits never go before paid ones
START_WITHIN = {
    JobClass.INTERACTIVE: timedelta(minutes=10),
    JobClass.STANDARD: timedelta(hours=1),
    JobClass.BATCH: timedelta(hours=24),
}


class JobNotFound(Exception):
    """The caller has no such job; whether somebody else has is not said."""


class PromptBlocked(Exception):
    """Moderation refuses the prompt; a job row says so, nothing was charged."""

    def __init__(self, job: Job) -> None:
        self.job = job
        super().__init__(f"The prompt was refused by moderation ({job.moderation_category}).")


# --- Accepting ----------------------------------------------------------------------------------


def submit(
    caller: Caller, request: GenerationRequest, delivery: Delivery, idempotency_key: str | None = None
) -> Job:
    """Accept a request: price it, reserve its credits, queue it. The same idempotency key gives the same job.

    Raises RoleForbids, InvalidRequest, ModelNotFound, TemplateNotFound, PriceNotFound, PromptBlocked,
    InsufficientCredit, ConcurrencyLimitReached, QuotaExceeded, KeyForbids or IdempotencyKeyReused; none of them
    leaves a hold behind.
    """
    roles.require(caller.role, roles.Action.GENERATE)
    tenant = preparation.tenant_of(caller.workspace_id)
    key = idempotency.key_of(tenant.ring, caller, request, delivery, idempotency_key)
    for is_last in (False, True):
        try:
            return _answer(_submit(tenant, caller, request, delivery, key))
        except Exception as error:
            # Whatever stands in the way of a second job, a retry gets the first. The twin that stands in the way of
            # an insert has committed first, or its 24 hours are over and it is gone now: then once more.
            if key is None:
                raise
            if earlier := _earlier(caller, key):
                return _answer(earlier)
            if is_last or not isinstance(error, IntegrityError):
                raise
    raise AssertionError("the second try ends in every case")


def _submit(
    tenant: Tenant,
    caller: Caller,
    request: GenerationRequest,
    delivery: Delivery,
    key: idempotency.Key | None,
) -> Job:
    workspaces.refuse_if_closing(tenant.workspace)
    prepared = preparation.prepare(caller, request)
    with tenancy.writing(caller.workspace_id) as now:
        job = _accept(tenant, prepared, delivery, key, now)
    if job.state == State.BLOCKED:
        job_log.ended(job)
    bus.queue_changed.send()
    return job


def _earlier(caller: Caller, key: idempotency.Key) -> Job | None:
    """The job that the key made; raises IdempotencyKeyReused when it is not the caller's to see."""
    with tenancy.writing(caller.workspace_id) as now:
        job = idempotency.find(caller, key, now)
        if job is not None and not visible_to(caller).filter(pk=job.pk).exists():
            raise idempotency.IdempotencyKeyReused
        return job


def _answer(job: Job) -> Job:
    if job.state == State.BLOCKED and job.error_code == "prompt_blocked":
        raise PromptBlocked(job)
    return job


def _accept(
    tenant: Tenant, prepared: Prepared, delivery: Delivery, key: idempotency.Key | None, now: datetime
) -> Job:
    """The accepting transaction. The contended rows come last, balance before quotas, so they are locked shortest."""
    caller = prepared.caller
    job = preparation.draft(tenant.ring, prepared, delivery, now)
    job.start_deadline_at = now + START_WITHIN[caller.job_class]
    with together():
        if key:
            idempotency.remember(caller, key, job, now)
        insert(job)
        content.keep(tenant.ring, job, prepared.resolved, now, tenant.limits.content_retention_days)
        audit.record(
            Event.JOB_BLOCKED if prepared.verdict.is_blocked else Event.JOB_ACCEPTED,
            job.workspace_id,
            job.public_id,
            caller.origin,
            prompt=KeyedHash(job.prompt_hash, job.prompt_hash_key_id),
            model=prepared.version.label,
            category=job.moderation_category,
            moderation=prepared.verdict.backend,
        )
        if not prepared.verdict.is_blocked:
            _queue(job)
    if not prepared.verdict.is_blocked:
        held = ledger.hold(
            job.workspace_id,
            prepared.quote.total_credits,
            job.hold_id,
            job.public_id,
            now,
            side=caller.side,
            max_open_holds=tenant.limits.concurrent_jobs,
        )
        job.quota_states = quotas.take(tenant.quotas, job, held.limits_version, now)
    return job


def _queue(job: Job, not_before_at: datetime | None = None) -> None:
    outbox.put(
        Topic.JOB_QUEUED,
        job.public_id,
        {"job_id": str(job.pk)},
        workspace_id=job.workspace_id,
        partition=job.model_version.model_id,
        rank=job.job_class if job.side == Side.LIVE else TEST_RANK,
        not_before_at=not_before_at,
    )


# --- Reading ------------------------------------------------------------------------------------


def visible_to(caller: Caller) -> QuerySet[Job]:
    """Jobs of the caller's side that the caller may see: all of them, or a member's own."""
    mine = Job.objects.for_workspace(caller.workspace_id).filter(side=caller.side)
    if not roles.allows(caller.role, roles.Action.SEE_ALL_JOBS):
        sees_own = roles.allows(caller.role, roles.Action.SEE_OWN_JOBS)
        mine = mine.filter(membership=caller.membership) if sees_own else mine.none()
    return mine.select_related("model_version")


def get(caller: Caller, job_id: uuid.UUID) -> Job:
    """Raises JobNotFound for a job of somebody else as for one that never was."""
    with tenancy.reading(caller.workspace_id):
        job = visible_to(caller).filter(pk=job_id).first()
    if job is None:
        raise JobNotFound
    return job


def images_of(job: Job) -> list[Image]:
    return images_by_job([job])[job.pk]


def images_by_job(some: Sequence[Job], *, with_deleted: bool = False) -> dict[uuid.UUID, list[Image]]:
    """The images of jobs of one workspace, in one query; a job without any has an empty list."""
    found: dict[uuid.UUID, list[Image]] = {job.pk: [] for job in some}
    if some:
        with tenancy.reading(some[0].workspace_id):
            rows = Image.objects.for_workspace(some[0].workspace_id).filter(job__in=found)
            shown = rows if with_deleted else rows.filter(deleted_at__isnull=True)
            for image in shown.order_by("index"):
                found[image.job_id].append(image)
    return found


async def wait(job_id: uuid.UUID, timeout_seconds: float) -> bool:
    """Whether the job ended within the time. Holds no connection and no thread meanwhile."""
    return await waiting.watcher().wait(job_id, timeout_seconds)


# --- Working ------------------------------------------------------------------------------------


def claim(job_id: uuid.UUID, worker: str) -> Claim | None:
    """Make a queued job this worker's own for the length of a lease; None when there is nothing to claim."""
    with tenancy.writing(tenancy.EVERY_WORKSPACE) as now:
        won = (
            _queued(job_id)
            .filter(start_deadline_at__gt=now)
            .update(
                state=State.PROCESSING,
                attempt=F("attempt") + 1,
                worker=worker,
                lease_until=now + LEASE,
                started_at=now,
            )
        )
        if not won:
            return None
        job = Job.objects.across_workspaces().select_related("model_version").get(pk=job_id)
        outbox.done(Topic.JOB_QUEUED, job.public_id)
        words = content.read(job)
    bus.queue_changed.send()
    if words is None:
        lost = Claim(job, job.attempt, _resolved(job, content.Words("", "")))
        fail(lost, "content_gone", "The prompt was deleted before the job could run.")
        return None
    return Claim(job, job.attempt, _resolved(job, words))


def _resolved(job: Job, words: content.Words) -> ResolvedRequest:
    return ResolvedRequest(
        prompt=words.prompt,
        negative_prompt=words.negative_prompt,
        operation=Operation(job.operation),
        width=job.width,
        height=job.height,
        num_images=job.num_images,
        num_inference_steps=job.num_inference_steps,
        guidance_scale=job.guidance_scale,
        seed=job.seed,
        scheduler=job.scheduler,
    )


def renew(mine: Claim) -> bool:
    """Lengthen the lease; False when the job is no longer this attempt's."""
    return bool(_claimed(mine).update(lease_until=clock.now() + LEASE))


def is_cancel_requested(mine: Claim) -> bool:
    return _claimed(mine).filter(cancel_requested_at__isnull=False).exists()


def complete(mine: Claim, result: Result) -> bool:
    """End with the stored pictures: charge those, give the rest back; False when the claim was lost."""
    job, delivered, timings = mine.job, len(result.pictures), result.timings
    with tenancy.writing(job.workspace_id) as now:
        charge = settlement.charge(job, delivered, timings.gpu_ms, result.drawn_images or delivered)
        if not _end(
            _claimed(mine),
            now,
            captured_credits=charge,
            is_flagged=job.is_flagged or result.is_flagged,
            **vars(timings),
            **result.ending,
        ):
            return False
        Image.objects.bulk_create(_image(mine, picture, now) for picture in result.pictures)
        settlement.capture(job, delivered, charge, timings.gpu_ms, now)
        if result.is_flagged:
            content.keep_for_review(job, now)
        else:
            content.forget_if_not_kept(job)
    _tell_end(job)
    return True


def fail(mine: Claim, code: str, message: str) -> bool:
    """End without a picture and without a charge; False when the claim was lost."""
    return _end_unpaid(mine.job, _claimed(mine), State.FAILED, code, message)


def retry(mine: Claim, code: str, message: str) -> bool:
    """Back into the queue after a fault that another attempt may not have; fails after the last attempt."""
    if mine.job.tries >= MAX_ATTEMPTS:
        return _end_unpaid(mine.job, _claimed(mine), State.FAILED, code, message, yields_to_cancel=True)
    return _requeue(mine.job, _claimed(mine), RETRY_AFTER[min(mine.job.tries, len(RETRY_AFTER)) - 1])


def give_back(mine: Claim) -> bool:
    """Back into the queue because this worker stops, which does not count as a try."""
    return _requeue(mine.job, _claimed(mine), given_back=F("given_back") + 1)


# --- Stopping -----------------------------------------------------------------------------------


def cancel(caller: Caller, job_id: uuid.UUID) -> Job:
    """Stop a job: at once while it is queued, at the next step while it runs; a job that ended stays as it is."""
    roles.require(caller.role, roles.Action.GENERATE)
    with tenancy.writing(caller.workspace_id) as now:
        job = get(caller, job_id)
        row = Job.objects.for_workspace(job.workspace_id).select_for_update().get(pk=job.pk)
        is_first = not State(row.state).is_terminal and row.cancel_requested_at is None
        if is_first:
            Job.objects.for_workspace(job.workspace_id).filter(pk=job.pk).update(cancel_requested_at=now)
            audit.record(Event.JOB_CANCELED, job.workspace_id, job.public_id, caller.origin)
    if not _end_unpaid(job, _queued(job.pk), State.CANCELED, "canceled", CANCELED):
        progress.ask_to_cancel(job.pk)
    return get(caller, job_id)


def expire(job: Job) -> bool:
    """Fail a job that nobody started before its deadline; one that was canceled meanwhile ends canceled."""
    message = "No worker was free before the deadline."
    return _end_unpaid(job, _queued(job.pk), State.FAILED, "expired", message, yields_to_cancel=True)


def recover(job: Job) -> bool:
    """Take a job back from a worker whose lease ran out: into the queue, or failed after the last attempt."""
    stale = Job.objects.across_workspaces().filter(
        pk=job.pk, state=State.PROCESSING, attempt=job.attempt, lease_until=job.lease_until
    )
    if job.tries >= MAX_ATTEMPTS:
        message = f"The worker was lost in each of {MAX_ATTEMPTS} attempts."
        return _end_unpaid(job, stale, State.FAILED, "attempts_exhausted", message, yields_to_cancel=True)
    return _requeue(job, stale)


# --- The shared steps ---------------------------------------------------------------------------


def _queued(job_id: uuid.UUID) -> QuerySet[Job]:
    return Job.objects.across_workspaces().filter(pk=job_id, state=State.QUEUED)


def _claimed(mine: Claim) -> QuerySet[Job]:
    """The row, as long as it is still this attempt's: the fence against a worker that was given up."""
    return Job.objects.across_workspaces().filter(
        pk=mine.job.pk, state=State.PROCESSING, attempt=mine.attempt
    )


def _end(row: QuerySet[Job], now: datetime, **fields: Any) -> bool:
    return bool(row.update(finished_at=now, lease_until=None, **fields))


def _end_unpaid(
    job: Job, row: QuerySet[Job], state: State, code: str, message: str, *, yields_to_cancel: bool = False
) -> bool:
    """End with a full release. With `yields_to_cancel` a job whose caller asked to stop ends canceled instead."""
    wanted = row.filter(cancel_requested_at__isnull=True) if yields_to_cancel else row
    with tenancy.writing(job.workspace_id) as now:
        has_ended = _end(wanted, now, state=state, error_code=code, error_message=message[:500])
        if has_ended:
            outbox.done(Topic.JOB_QUEUED, job.public_id)
            settlement.release(job, now)
            content.forget_if_not_kept(job)
    if has_ended:
        _tell_end(job)
        bus.queue_changed.send()
    elif yields_to_cancel:
        return _end_unpaid(job, row, State.CANCELED, "canceled", CANCELED)
    return has_ended


def _requeue(job: Job, row: QuerySet[Job], pause: timedelta = timedelta(), **fields: Any) -> bool:
    """Queue the job again; one whose caller asked to stop is canceled instead."""
    with tenancy.writing(job.workspace_id) as now:
        deadline = now + START_WITHIN[JobClass(job.job_class)]
        wanted = row.filter(cancel_requested_at__isnull=True)
        is_queued = wanted.update(
            state=State.QUEUED, lease_until=None, worker="", start_deadline_at=deadline, **fields
        )
        if is_queued:
            _queue(job, now + pause if pause else None)
    if not is_queued:
        return _end_unpaid(job, row, State.CANCELED, "canceled", CANCELED)
    log.warning("job requeued", job_id=job.public_id, attempt=job.attempt, model=job.model_version.label)
    bus.queue_changed.send()
    return True


def _image(mine: Claim, picture: StoredPicture, now: datetime) -> Image:
    job = mine.job
    return Image(
        workspace_id=job.workspace_id,
        job=job,
        index=picture.index,
        attempt=mine.attempt,
        storage_key=picture.storage_key,
        sha256=picture.sha256,
        size_bytes=picture.size_bytes,
        content_type=picture.content_type,
        width=job.width,
        height=job.height,
        seed=mine.request.seed_of(picture.index),
        created_at=now,
    )


def _tell_end(job: Job) -> None:
    job_log.ended(job)
    progress.forget(job.pk)
    bus.job_ended.send()
