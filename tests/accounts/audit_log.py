"""Steps of the tests that seal an audit log and tamper with it."""

import uuid
from datetime import UTC, datetime, timedelta

from django.db.models import QuerySet

from accounts import audit, audit_seals
from accounts.audit import Event
from accounts.models import AuditEvent, AuditSeal, SealedEvent, Workspace


def later(**time: float) -> datetime:
    return datetime.now(UTC) + timedelta(**time)


def record(workspace: Workspace, *targets: str) -> list[AuditEvent]:
    """Events of the workspace with these targets, in their order."""
    for target in targets:
        audit.record(Event.JOB_CANCELED, workspace.pk, target)
    return list(events_of(workspace).filter(target__in=targets).order_by("pk"))


def seal(workspace: Workspace, now: datetime | None = None) -> AuditSeal:
    made = audit_seals.seal(workspace.pk, now or later())
    assert made is not None
    return made


def events_of(workspace: Workspace) -> QuerySet[AuditEvent]:
    return AuditEvent.objects.for_workspace(workspace)


def sealed(workspace: Workspace) -> list[tuple[int, int, int]]:
    """Number of the seal, position and event, of everything that is sealed."""
    rows = SealedEvent.objects.for_workspace(workspace).order_by("seal__number", "position")
    return list(rows.values_list("seal__number", "position", "event_id"))


def many(workspace_id: uuid.UUID, count: int) -> None:
    AuditEvent.objects.bulk_create(
        AuditEvent(workspace_id=workspace_id, action="job:canceled", actor="system", target=f"job_{number}")
        for number in range(count)
    )
