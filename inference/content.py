"""The words of a job: written encrypted when it is accepted, read by the worker and by the caller's own pages."""

import json
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import structlog

from accounts import entitlements, ids, keyring
from accounts.inserts import insert
from accounts.keyring import ContentUnreadable, Keyring
from inference import retention
from inference.models import Job, JobContent
from inference.requests import ResolvedRequest

log = structlog.get_logger(__name__)

FLAGGED_DAYS = 90  # flagged and blocked prompts wait this long for review


@dataclass(frozen=True)
class Words:
    prompt: str
    negative_prompt: str


def keep(ring: Keyring, job: Job, resolved: ResolvedRequest, now: datetime, retention_days: int) -> None:
    # A workspace that keeps nothing still lends the words to the worker until the job ends.
    days = FLAGGED_DAYS if job.is_flagged else max(retention_days, 1)
    text = json.dumps(asdict(Words(resolved.prompt, resolved.negative_prompt))).encode()
    insert(
        JobContent(
            job=job,
            workspace_id=job.workspace_id,
            ciphertext=ring.encrypt(text),
            expires_at=now + timedelta(days=days),
        )
    )


def read(job: Job) -> Words | None:
    """None when retention deleted the words, or the key that opens them was destroyed."""
    return read_many(job.workspace_id, [job]).get(job.pk)


def read_many(workspace_id: uuid.UUID, some: Iterable[Job]) -> dict[uuid.UUID, Words]:
    """The words of jobs of one workspace, by job, without those that `read` gives as None."""
    rows = list(JobContent.objects.for_workspace(workspace_id).filter(job__in=[job.pk for job in some]))
    if not rows:
        return {}
    try:
        ring = keyring.of(workspace_id)
    except ContentUnreadable as error:
        log.error("words cannot be read", workspace_id=str(workspace_id), error=str(error))
        return {}
    opened = {row.pk: _opened(ring, row) for row in rows}
    return {job_id: words for job_id, words in opened.items() if words is not None}


def _opened(ring: Keyring, row: JobContent) -> Words | None:
    try:
        return Words(**json.loads(ring.decrypt(bytes(row.ciphertext))))
    except ContentUnreadable as error:
        log.error("words cannot be read", job_id=ids.public(ids.Prefix.JOB, row.pk), error=str(error))
        return None


def delete_expired(now: datetime) -> int:
    """Delete words whose retention is over; a job that still needs them keeps them. Returns how many went."""
    over = JobContent.objects.across_workspaces().filter(expires_at__lte=now, job__finished_at__isnull=False)
    return retention.delete_batch(over)


def keep_for_review(job: Job, now: datetime) -> None:
    """A flagged job's words wait for the reviewer, whatever the workspace keeps."""
    mine = JobContent.objects.for_workspace(job.workspace_id).filter(job=job)
    mine.update(expires_at=now + timedelta(days=FLAGGED_DAYS))


def forget_if_not_kept(job: Job) -> None:
    """In the completing transaction: a workspace that keeps nothing keeps nothing from here on."""
    kept_days = entitlements.of(job.workspace_id).content_retention_days
    if kept_days == 0 and not job.is_flagged:
        JobContent.objects.for_workspace(job.workspace_id).filter(job=job).delete()
