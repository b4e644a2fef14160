"""Deleting jobs that ended: pictures hidden, their bytes gone from the storage, then the rows, in that order.

Words, images and idempotency records go with their job. Its usage row, its ledger operations and its audit events
stay; they hold references only. Every step is safe to do twice, and a job goes only when its bytes are gone.
"""

import random
from collections.abc import Sequence
from datetime import datetime

import structlog
from django.db.models import Q, QuerySet

from accounts import tenancy
from accounts.tenancy import EVERY_WORKSPACE
from billing.models import Operation
from inference import retention, storage
from inference.models import UNFINISHED, Image, Job
from inference.storage import StorageFailed

log = structlog.get_logger(__name__)


def delete_old(now: datetime) -> int:
    """Delete up to a batch of jobs that ended as long ago as their workspace keeps them; returns how many went."""
    with tenancy.reading(EVERY_WORKSPACE):
        over = retention.over_age("finished_at", "job_retention_days", now)
    under_review = Q(is_flagged=True, content__expires_at__gt=now)
    return delete(Job.objects.across_workspaces().filter(over).exclude(under_review), now)


def delete(over: QuerySet[Job], now: datetime) -> int:
    """Delete up to a batch of the jobs, as many as have ended and go in a while; returns how many went."""
    with tenancy.writing(EVERY_WORKSPACE):
        batch = _without_open_hold(list(over.exclude(state__in=UNFINISHED).order_by("pk")[: retention.BATCH]))
        images = Image.objects.across_workspaces().filter(job__in=[job.pk for job in batch])
        images.filter(deleted_at__isnull=True).update(deleted_at=now)
    random.shuffle(batch)  # so that jobs which the storage does not let go never stand in front of the others
    erased = [job.pk for job in retention.for_a_while(batch) if _erase(job)]
    with tenancy.writing(EVERY_WORKSPACE):
        Job.objects.across_workspaces().filter(pk__in=erased).delete()
    return len(erased)


def _without_open_hold(batch: Sequence[Job]) -> list[Job]:
    """Credits must not lose the job that explains them: such a job is a fault, and `verify_ledger` names it."""
    holds = Operation.objects.across_workspaces().filter(operation_id__in=[job.hold_id for job in batch])
    is_open = set(holds.filter(resolution__isnull=True).values_list("operation_id", flat=True))
    return [job for job in batch if job.hold_id not in is_open]


def _erase(job: Job) -> bool:
    """Delete all bytes that attempts at the job ever stored, also those of attempts that were lost."""
    try:
        if job.attempt:
            storage.erase_folder(storage.folder_of(job))
    except StorageFailed as error:
        log.error("job not deleted", job_id=job.public_id, reason=str(error))
        return False
    return True
