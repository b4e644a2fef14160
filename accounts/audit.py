"""The record of who did what. Call `record` inside the transaction of the change it tells of.

Event names are `subject:action`, all in one enum, so that a reader can list everything that is ever recorded.
"""

import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from accounts.inserts import insert
from accounts.keyring import KeyedHash
from accounts.models import AuditEvent

# Rows of these tables are never changed or deleted, by database triggers.
TABLES = ("accounts_auditevent", "accounts_auditseal", "accounts_sealedevent")
IMMUTABLE = "audit rows are never changed or deleted"


class Event(StrEnum):
    WORKSPACE_CREATED = "workspace:created"
    WORKSPACE_RENAMED = "workspace:renamed"
    WORKSPACE_CLOSED = "workspace:closed"
    WORKSPACE_REOPENED = "workspace:reopened"
    WORKSPACE_DELETED = "workspace:deleted"
    WORKSPACE_EXPORTED = "workspace:exported"
    TIME_ZONE_CHANGED = "time_zone:changed"
    MEMBER_ADDED = "member:added"
    MEMBER_REMOVED = "member:removed"
    KEY_ISSUED = "api_key:issued"
    KEY_ROTATED = "api_key:rotated"
    KEY_REVOKED = "api_key:revoked"
    KEY_LEAKED = "api_key:leaked"
    QUOTA_SET = "quota:set"
    QUOTA_REMOVED = "quota:removed"
    QUOTA_CROSSED = "quota:crossed"
    IMAGE_DELETED = "image:deleted"
    TEMPLATE_SAVED = "prompt_template:saved"
    JOB_ACCEPTED = "job:accepted"
    JOB_BLOCKED = "job:blocked"
    JOB_CANCELED = "job:canceled"
    CREDIT_GRANTED = "credit:granted"


@dataclass(frozen=True)
class Origin:
    """Where a change comes from: who (`key:...`, `user:...`, `system`) and in which request."""

    actor: str = "system"
    request_id: str = ""


SYSTEM = Origin()


def record(
    event: Event,
    workspace_id: uuid.UUID,
    target: str,
    origin: Origin = SYSTEM,
    *,
    prompt: KeyedHash | None = None,
    **data: Any,
) -> None:
    """Write one event; `target` is a public id, `data` holds no prompt and no secret."""
    insert(
        AuditEvent(
            workspace_id=workspace_id,
            action=event,
            actor=origin.actor,
            target=target,
            data=data,
            prompt_hash=prompt.digest if prompt else "",
            prompt_hash_key_id=prompt.key_id if prompt else "",
            request_id=origin.request_id,
        )
    )
