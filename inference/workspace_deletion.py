"""Deleting a workspace whose days of grace are over, in small steps on the sweeper's clock.

Every step is safe to do twice and takes a batch at a time, so whoever dies in between leaves what the next sweep
finishes. The workspace's secret goes when everything else has gone, and that it is there says that work is left.

Ledger, usage rows and audit stay, and the workspace's row without its name. They hold references, and hashes that
nobody can compute again without the secret. Remaining credits stay on the books.
"""

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog
from django.db.models import QuerySet

from accounts import audit, ids, keyring, outbox, tenancy, workspaces
from accounts.models import (
    ApiKey,
    AuditEvent,
    AuditSeal,
    Entitlements,
    Membership,
    Quota,
    SealedEvent,
    Workspace,
    WorkspaceKeyring,
)
from accounts.tenancy import EVERY_WORKSPACE
from billing.models import Balance, Entry, Grant, Operation, UsageRecord
from inference import job_deletion, retention, storage
from inference.models import (
    IdempotencyRecord,
    Image,
    Job,
    JobContent,
    PromptTemplate,
    PromptTemplateVersion,
    QuotaUse,
)

log = structlog.get_logger(__name__)

WITH_THEIR_JOBS = (Job, JobContent, Image)
# In this order, because a row goes before those that it refers to.
BY_THEMSELVES = (
    IdempotencyRecord,
    PromptTemplateVersion,
    PromptTemplate,
    QuotaUse,
    Quota,
    ApiKey,
    Membership,
)
KEPT = (Balance, Grant, Operation, Entry, UsageRecord, AuditEvent, AuditSeal, SealedEvent)


class NotYet(Exception):
    """Something of the workspace cannot be deleted at present; a later sweep tries again."""


def advance_due(now: datetime) -> int:
    """One step for each workspace that is due, for a while; returns how many steps were done."""
    unfinished = WorkspaceKeyring.objects.values("workspace")
    due = Workspace.objects.filter(closing_at__lte=now, pk__in=unfinished)
    with tenancy.reading(EVERY_WORKSPACE):
        batch = list(due.order_by("?").values_list("pk", flat=True)[: retention.BATCH])
    return sum(_advanced(workspace_id, now) for workspace_id in retention.for_a_while(batch))


def _advanced(workspace_id: uuid.UUID, now: datetime) -> bool:
    try:
        return advance(workspace_id, now)
    except Exception as error:  # whatever it is, it must not keep the other workspaces
        reason = str(error) if isinstance(error, NotYet | storage.StorageFailed) else type(error).__name__
        log.error("workspace not deleted", workspace_id=str(workspace_id), reason=reason)
        return False


def advance(workspace_id: uuid.UUID, now: datetime) -> bool:
    """Do the first step that finds something to do; False when nothing is left. Raises NotYet or StorageFailed."""
    if not workspaces.begin_deletion(workspace_id, now):
        return False
    return any(step(workspace_id, now) for step in STEPS)


def _delete_jobs(workspace_id: uuid.UUID, now: datetime) -> int:
    jobs = Job.objects.for_workspace(workspace_id)
    gone = job_deletion.delete(jobs, now)
    with tenancy.reading(workspace_id):
        if not gone and jobs.exists():
            raise NotYet("It has jobs that have not ended or whose pictures cannot be deleted.")
    return gone


def _delete_files(workspace_id: uuid.UUID, now: datetime) -> int:
    """What attempts of jobs that are long gone may have left; there is nothing to count."""
    storage.erase_folder(storage.folder_of_workspace(workspace_id))
    return 0


def _delete_rows(workspace_id: uuid.UUID, now: datetime) -> int:
    with tenancy.writing(workspace_id):
        # A key may not go before the one that it was replaced by.
        ApiKey.objects.for_workspace(workspace_id).exclude(replaced_by=None).update(replaced_by=None)
        return next(filter(None, map(retention.delete_batch, _rows_of(workspace_id))), 0)


def _rows_of(workspace_id: uuid.UUID) -> list[QuerySet[Any]]:
    owned = [model.objects.for_workspace(workspace_id) for model in BY_THEMSELVES]
    return [*owned, Entitlements.objects.filter(workspace_id=workspace_id)]


def _destroy_secret(workspace_id: uuid.UUID, now: datetime) -> int:
    """The last step: with its secret goes the sign that something is left to do."""
    with tenancy.writing(workspace_id):
        outbox.forget(workspace_id)
        is_first = keyring.destroy(workspace_id)
        if is_first:
            target = ids.public(ids.Prefix.WORKSPACE, workspace_id)
            audit.record(audit.Event.WORKSPACE_DELETED, workspace_id, target)
    return int(is_first)


STEPS: tuple[Callable[[uuid.UUID, datetime], int], ...] = (
    _delete_jobs,
    _delete_files,
    _delete_rows,
    _destroy_secret,
)
