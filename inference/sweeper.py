"""Brings back what was lost: runs on a clock, and everything it does is safe to do twice."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db.models import Q

from accounts import audit_seals, clock, outbox
from accounts.outbox import Topic
from billing import ledger
from inference import (
    content,
    idempotency,
    image_deletion,
    job_deletion,
    jobs,
    quotas,
    retention,
    workspace_deletion,
)
from inference.models import Job, State

log = structlog.get_logger(__name__)

# Published jobs of a model of which nothing was claimed for so long were lost on the way.
REPUBLISH_AFTER = timedelta(seconds=60)
# And a single message after so long, whatever moves around it; publishing twice is harmless.
REPUBLISH_ANYWAY = timedelta(minutes=5)
BATCH = 500

sealing = audit_seals.Rounds()
hiding = retention.Rounds(image_deletion.hide_old)
erasing = retention.Rounds(image_deletion.erase_hidden, rest=timedelta())
clearing = retention.Rounds(job_deletion.delete_old)
closing = retention.Rounds(workspace_deletion.advance_due)


@dataclass(frozen=True)
class Swept:
    recovered: int
    expired: int
    republished: int
    expired_grants: int
    forgotten: int
    sealed: int
    hidden_images: int
    erased_images: int
    deleted_jobs: int
    deletion_steps: int  # of workspaces that were closed


def run_once() -> Swept:
    """Recover lost jobs, fail those that waited too long, republish lost messages, expire grants and words, seal."""
    now = clock.now()
    rows = Job.objects.across_workspaces().select_related("model_version")
    silent = rows.filter(state=State.PROCESSING, lease_until__lte=now)[:BATCH]
    over = Q(start_deadline_at__lte=now) | Q(cancel_requested_at__isnull=False)
    late = rows.filter(over, state=State.QUEUED)[:BATCH]
    swept = Swept(
        recovered=_each(jobs.recover, silent),
        expired=_each(jobs.expire, late),
        republished=_republish(now - REPUBLISH_AFTER),
        expired_grants=ledger.expire_due(now),
        forgotten=content.delete_expired(now) + idempotency.delete_expired(now) + quotas.delete_old(now),
        sealed=sealing.seal(now),
        hidden_images=hiding.go(now),
        erased_images=erasing.go(now),
        deleted_jobs=clearing.go(now),
        deletion_steps=closing.go(now),
    )
    if any(vars(swept).values()):
        log.info("swept", **vars(swept))
    return swept


def _republish(before: datetime) -> int:
    """Publish again where nothing moves. Behind a slow model jobs wait long too, but claims go on there."""
    stale = outbox.stale_partitions(Topic.JOB_QUEUED, before)
    claimed = Job.objects.across_workspaces().filter(started_at__gte=before, model_version__model__in=stale)
    moving = set(claimed.values_list("model_version__model_id", flat=True).distinct())
    still = [model for model in stale if model not in moving]
    old = before - (REPUBLISH_ANYWAY - REPUBLISH_AFTER)
    stuck = outbox.requeue_stale(Topic.JOB_QUEUED, before, still)
    return stuck + outbox.requeue_stale(Topic.JOB_QUEUED, old)


def _each(change: Callable[[Job], bool], rows: Iterable[Job]) -> int:
    """How many were changed; one that cannot be is logged and does not keep the others."""
    return sum(_changed(change, job) for job in rows)


def _changed(change: Callable[[Job], bool], job: Job) -> bool:
    try:
        return change(job)
    except Exception:
        log.exception("sweeping a job failed", job_id=job.public_id)
        return False


def recover_from(worker: str) -> int:
    """Take back the jobs of a worker that is known to be dead, without waiting for its leases; returns how many."""
    soon = clock.now() + timedelta(seconds=1)
    outbox.requeue_stale(Topic.JOB_QUEUED, soon)
    rows = Job.objects.across_workspaces().select_related("model_version")
    return _each(jobs.recover, rows.filter(state=State.PROCESSING, worker=worker))
