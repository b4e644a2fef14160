"""A client's key that makes a retry safe: the same key and request give the first job, for 24 hours.

The header is optional. Only accepted jobs are remembered: who was refused for lack of credit may top up and retry.
The scope is workspace, side and endpoint. The fingerprint is a keyed hash of the canonical request, so it keeps
nothing of the prompt.
"""

import json
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from accounts.keyring import Keyring, Purpose
from inference import retention
from inference.models import IdempotencyRecord, Job
from inference.requests import Caller, Delivery, GenerationRequest, InvalidRequest

KEPT = timedelta(hours=24)
MAX_KEY_CHARACTERS = 255


class IdempotencyKeyReused(Exception):
    """The key was used before with another request."""


@dataclass(frozen=True)
class Key:
    """A client's key at one endpoint, and the fingerprint of the request it came with."""

    text: str
    endpoint: str
    fingerprint: str


def key_of(
    ring: Keyring, caller: Caller, request: GenerationRequest, delivery: Delivery, header: str | None
) -> Key | None:
    """The key in the header, None without one; raises InvalidRequest for one that is empty or too long."""
    if header is None:
        return None
    told = {"request": _told(request), "delivery": _told(delivery), "end_user": caller.end_user}
    fingerprint = ring.hash(json.dumps(told, sort_keys=True, default=str), Purpose.FINGERPRINT).digest
    return Key(_bare(header), f"{caller.dialect}/{request.operation}", fingerprint)


def _told(request: GenerationRequest | Delivery) -> dict[str, Any]:
    """What differs from the defaults, so that a field added later changes no earlier fingerprint."""
    told = {one: getattr(request, one.name) for one in fields(request)}
    return {one.name: value for one, value in told.items() if value != one.default}


def _bare(header: str) -> str:
    """The key without the quotes that some clients put around it."""
    bare = header.strip().removeprefix('"').removesuffix('"')
    if not bare or len(bare) > MAX_KEY_CHARACTERS or not bare.isprintable():
        raise InvalidRequest("Idempotency-Key", f"must have 1 to {MAX_KEY_CHARACTERS} printable characters.")
    return bare


def find(caller: Caller, key: Key, now: datetime) -> Job | None:
    """The job that this key made; raises IdempotencyKeyReused when it was for another request."""
    rows = IdempotencyRecord.objects.for_workspace(caller.workspace_id).filter(
        side=caller.side, endpoint=key.endpoint, key=key.text
    )
    record = rows.select_related("job__model_version").first()
    if record is None:
        return None
    if record.created_at <= now - KEPT:
        record.delete()
        return None
    if record.fingerprint != key.fingerprint:
        raise IdempotencyKeyReused
    return record.job


def remember(caller: Caller, key: Key, job: Job, now: datetime) -> None:
    """First statement of the accepting transaction: a twin waits here for the outcome of the first."""
    IdempotencyRecord.objects.create(
        workspace_id=caller.workspace_id,
        side=caller.side,
        endpoint=key.endpoint,
        key=key.text,
        fingerprint=key.fingerprint,
        job_id=job.pk,
        created_at=now,
    )


def delete_expired(now: datetime) -> int:
    """Delete records that protect no retry any more; returns how many went."""
    over = IdempotencyRecord.objects.across_workspaces().filter(created_at__lte=now - KEPT)
    return retention.delete_batch(over)
