"""The record of who did what. Call `record` inside the transaction of the change it tells of.

Event names are `subject:action`, all in one enum, so that a reader can list everything that is ever recorded.
"""

import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from accounts.keyring import KeyedHash
from accounts.models import AuditEvent


class Event(StrEnum):
    WORKSPACE_CREATED = "workspace:created"
    MEMBER_ADDED = "member:added"
    KEY_ISSUED = "api_key:issued"
    KEY_REVOKED = "api_key:revoked"
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
    AuditEvent.objects.create(
        workspace_id=workspace_id,
        action=event,
        actor=origin.actor,
        target=target,
        data=data,
        prompt_hash=prompt.digest if prompt else "",
        prompt_hash_key_id=prompt.key_id if prompt else "",
        request_id=origin.request_id,
    )
