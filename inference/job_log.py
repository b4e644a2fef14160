"""The one log line of a job, written when it ends, however it ends."""

import structlog
from django.db import Error as DatabaseFault

from accounts import tenancy
from inference.models import Job

log = structlog.get_logger(__name__)


def ended(job: Job) -> None:
    """Never raises for the database's sake: the end is committed, and a missing line must not look like a fault."""
    try:
        _write(job)
    except DatabaseFault as error:
        log.warning(
            "job ended without its line",
            job_id=job.public_id,
            error=type(error).__name__,
        )


def _write(ended: Job) -> None:
    with tenancy.reading(ended.workspace_id):
        rows = Job.objects.for_workspace(ended.workspace_id).select_related("model_version", "api_key")
        job = rows.get(pk=ended.pk)
    finished = job.finished_at or job.created_at
    started = job.started_at or finished
    log.info(
        "job ended",
        job_id=job.public_id,
        request_id=job.request_id,
        workspace_id=str(job.workspace_id),
        key_id=job.api_key.key_id if job.api_key else None,
        dialect=job.dialect,
        model=job.model_version.label,
        prompt_hash=job.prompt_hash,
        outcome=job.state,
        code=job.error_code or None,
        attempt=job.attempt,
        queue_ms=round((started - job.created_at).total_seconds() * 1000),
        generate_ms=job.generate_ms,
        store_ms=job.store_ms,
        total_ms=round((finished - job.created_at).total_seconds() * 1000),
        credits=job.captured_credits,
    )
