"""A client's key that makes a retry safe: the same key and request give the first job, for 24 hours.

The header is optional. Only what was made is remembered: who was refused for lack of credit may top up and retry.
The scope is workspace, side and endpoint. The fingerprint is a keyed hash of the canonical request, so it keeps
nothing of the prompt. The record is written in the transaction that makes the thing, so there is never one without
the other; a twin waits at the unique key for the outcome of the first.
"""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError
from django.db.models import QuerySet

from accounts import clock, keyring, tenancy
from accounts.inserts import insert
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
    """The key in the header, None without one; raises InvalidRequest for one that is empty, too long or not ASCII."""
    if header is None:
        return None
    told = {"request": _told(request), "delivery": _told(delivery), "end_user": caller.end_user}
    return _key(ring, header, f"{caller.dialect}/{request.operation}", told)


def _key(ring: Keyring, header: str, endpoint: str, told: Any) -> Key:
    fingerprint = ring.hash(json.dumps(told, sort_keys=True, default=str), Purpose.FINGERPRINT).digest
    return Key(_bare(header), endpoint, fingerprint)


def _told(request: GenerationRequest | Delivery) -> dict[str, Any]:
    """What differs from the defaults, so that a field added later changes no earlier fingerprint."""
    told = {one: getattr(request, one.name) for one in fields(request)}
    return {one.name: value for one, value in told.items() if value != one.default}


def _bare(header: str) -> str:
    """The key without the quotes that some clients put around it."""
    bare = header.strip().removeprefix('"').removesuffix('"')
    # Servers read a header as Latin-1, so a text in UTF-8 would be another one here, or none at all.
    if not 1 <= len(bare) <= MAX_KEY_CHARACTERS or not (bare.isascii() and bare.isprintable()):
        message = f"must have 1 to {MAX_KEY_CHARACTERS} characters of printable ASCII."
        raise InvalidRequest("Idempotency-Key", message)
    return bare


def find(caller: Caller, key: Key, now: datetime) -> Job | None:
    """The job that this key made; raises IdempotencyKeyReused when it was for another request."""
    record = _find(caller, key, now)
    return record.job if record else None


def _find(caller: Caller, key: Key, now: datetime) -> IdempotencyRecord | None:
    record = _records(caller, key).select_related("job__model_version").first()
    if record is None:
        return None
    if record.created_at <= now - KEPT:
        record.delete()
        return None
    if record.fingerprint != key.fingerprint:
        raise IdempotencyKeyReused
    return record


def _records(caller: Caller, key: Key) -> QuerySet[IdempotencyRecord]:
    rows = IdempotencyRecord.objects.for_workspace(caller.workspace_id)
    return rows.filter(side=caller.side, endpoint=key.endpoint, key=key.text)


def remember(caller: Caller, key: Key, job: Job, now: datetime) -> None:
    """First statement of the accepting transaction: a twin waits here for the outcome of the first."""
    _remember(caller, key, now, job_id=job.pk)


def _remember(caller: Caller, key: Key, now: datetime, job_id: uuid.UUID | None = None) -> None:
    insert(
        IdempotencyRecord(
            workspace_id=caller.workspace_id,
            side=caller.side,
            endpoint=key.endpoint,
            key=key.text,
            fingerprint=key.fingerprint,
            created_at=now,
            job_id=job_id,
        )
    )


def once(
    caller: Caller, endpoint: str, header: str | None, body: Any, make: Callable[[], str]
) -> tuple[str, bool]:
    """Make a thing that is not a job, once per key: its id, and whether it was made just now.

    `body` is what the client sent, `make` returns the new thing's public id. Raises IdempotencyKeyReused.
    """
    if header is None:
        return make(), True
    key = _key(keyring.of(caller.workspace_id), header, f"{caller.dialect}/{endpoint}", body)
    try:
        with tenancy.writing(caller.workspace_id) as now:
            if earlier := _find(caller, key, now):
                return earlier.resource, False
            _remember(caller, key, now)
            resource = make()
            _records(caller, key).update(resource=resource)
            return resource, True
    except IntegrityError:
        with tenancy.reading(caller.workspace_id):
            if earlier := _find(caller, key, clock.now()):
                return earlier.resource, False
        raise


def delete_expired(now: datetime) -> int:
    """Delete records that protect no retry any more; returns how many went."""
    over = IdempotencyRecord.objects.across_workspaces().filter(created_at__lte=now - KEPT)
    return retention.delete_batch(over)
