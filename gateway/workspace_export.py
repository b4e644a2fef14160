"""Everything that is kept of a workspace, as rows of its parts, a chunk at a time.

`workspace_archive` writes the rows and the pictures into a file, `stream` sends them to an HTTP client. Left out are
secrets: digests of keys, and the workspace's own keyring.
"""

import json
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from django.db import models

from accounts import audit, clock, ids, tenancy
from accounts.audit import Origin
from accounts.ids import Prefix
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
from accounts.tenancy import WorkspaceOwned
from billing.models import Balance, Entry, Grant, Operation, UsageRecord
from gateway.api import threads
from gateway.api.threads import Pool
from inference import content, storage
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

FORMAT = 1
CHUNK = 200
# Ids that have a public form, by the column that holds them; the others are shown as they are.
PUBLIC = {
    "workspace_id": Prefix.WORKSPACE,
    "membership_id": Prefix.MEMBERSHIP,
    "api_key_id": Prefix.KEY,
    "replaced_by_id": Prefix.KEY,
    "template_id": Prefix.TEMPLATE,
    "grant_id": Prefix.GRANT,
    "job_id": Prefix.JOB,
}
PUBLIC_KEYS: dict[type[models.Model], Prefix] = {
    Workspace: Prefix.WORKSPACE,
    Membership: Prefix.MEMBERSHIP,
    ApiKey: Prefix.KEY,
    Quota: Prefix.QUOTA,
    PromptTemplate: Prefix.TEMPLATE,
    Job: Prefix.JOB,
    Image: Prefix.IMAGE,
    Grant: Prefix.GRANT,
}

Line = dict[str, Any]


def _nothing(workspace_id: uuid.UUID, rows: list[Any]) -> list[Line]:
    return [{} for _ in rows]


def _emails(workspace_id: uuid.UUID, rows: list[Membership]) -> list[Line]:
    return [{"email": row.user.email} for row in rows]


def _prefixes(workspace_id: uuid.UUID, rows: list[ApiKey]) -> list[Line]:
    return [{"prefix": row.prefix} for row in rows]


def _words(workspace_id: uuid.UUID, rows: list[Job]) -> list[Line]:
    """As far as they are kept."""
    kept, gone = content.read_many(workspace_id, rows), {"prompt": None, "negative_prompt": None}
    return [vars(kept[row.pk]) if row.pk in kept else gone for row in rows]


@dataclass(frozen=True)
class Part:
    """One table: its columns except those left out, and what else belongs to a row."""

    name: str
    model: type[models.Model]
    left_out: tuple[str, ...] = ()
    more: Callable[[uuid.UUID, list[Any]], list[Line]] = _nothing


IMAGES = Part("images", Image, left_out=("storage_key",))
PARTS = (
    Part("workspace", Workspace),
    Part("limits", Entitlements),
    Part("members", Membership, more=_emails),
    Part("api_keys", ApiKey, left_out=("digest", "pepper_id"), more=_prefixes),
    Part("quotas", Quota),
    Part("quota_uses", QuotaUse),
    Part("prompt_templates", PromptTemplate),
    Part("prompt_template_versions", PromptTemplateVersion),
    Part("jobs", Job, left_out=("worker",), more=_words),
    IMAGES,
    Part("idempotency_keys", IdempotencyRecord),
    Part("usage", UsageRecord),
    Part("balances", Balance),
    Part("grants", Grant),
    Part("ledger_operations", Operation),
    Part("ledger_entries", Entry),
    Part("audit_events", AuditEvent),
    Part("audit_seals", AuditSeal),
    Part("audit_sealed_events", SealedEvent),
)
WITH_OTHERS = (JobContent,)  # words are shown with their job
SECRET = (WorkspaceKeyring,)


@dataclass(frozen=True)
class Chunk:
    """Some rows of a part, what is shown of them, and where the next ones begin; None after the last."""

    rows: list[Any]
    lines: list[Line]
    after: Any


def begin(workspace_id: uuid.UUID, form: str, origin: Origin = audit.SYSTEM) -> datetime:
    """Write down that the workspace is exported, before the first row leaves; returns the time."""
    with tenancy.writing(workspace_id) as now:
        target = ids.public(Prefix.WORKSPACE, workspace_id)
        audit.record(audit.Event.WORKSPACE_EXPORTED, workspace_id, target, origin, form=form)
    return now


def read(part: Part, workspace_id: uuid.UUID, after: Any = None) -> Chunk:
    """The next rows of a part. Between two chunks no transaction is open, so work may go on meanwhile."""
    with tenancy.reading(workspace_id):
        later = _rows_of(part.model, workspace_id)
        if after is not None:
            later = later.filter(pk__gt=after)
        rows = list(later.order_by("pk")[:CHUNK])
        more = part.more(workspace_id, rows)
    lines = [_draw(row, part.left_out) | extra for row, extra in zip(rows, more, strict=True)]
    return Chunk(rows, lines, rows[-1].pk if len(rows) == CHUNK else None)


def _rows_of(model: type[models.Model], workspace_id: uuid.UUID) -> models.QuerySet[Any]:
    if issubclass(model, WorkspaceOwned):
        rows: models.QuerySet[Any] = model.objects.for_workspace(workspace_id)
        return rows.select_related("user") if model is Membership else rows
    return model._default_manager.filter(pk=workspace_id)


def _draw(row: models.Model, left_out: tuple[str, ...]) -> Line:
    columns = [field.attname for field in row._meta.concrete_fields if field.name not in left_out]
    return {name: _public(row, name, getattr(row, name)) for name in columns}


def _public(row: models.Model, name: str, value: Any) -> Any:
    if not isinstance(value, uuid.UUID):
        return value
    prefix = PUBLIC_KEYS.get(type(row)) if name == "id" else PUBLIC.get(name)
    return ids.public(prefix, value) if prefix else value


def dump(line: Line) -> bytes:
    """One line of JSON Lines."""
    return json.dumps(line, ensure_ascii=False, default=_plain).encode() + b"\n"


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


async def stream(workspace_id: uuid.UUID, check: Callable[[], None]) -> AsyncIterator[bytes]:
    """The export as JSON Lines, `{"part": ..., "row": ...}` each; the last part is `end`, with the number of rows.

    `check` is asked before every chunk and raises when the caller may read no further. What goes wrong once the
    answer has begun breaks it off, so that no client takes a part for the whole.
    """
    counts = dict.fromkeys((part.name for part in PARTS), 0)
    about = {"format": FORMAT, "workspace": ids.public(Prefix.WORKSPACE, workspace_id)}
    yield dump({"part": "export", "row": about})
    try:
        for part in PARTS:
            after, is_first = None, True
            while is_first or after is not None:
                lines, after = await threads.run(
                    Pool.READ, _read_for_client, part, workspace_id, after, check
                )
                is_first = False
                counts[part.name] += len(lines)
                yield b"".join(dump({"part": part.name, "row": line}) for line in lines)
    except Exception as error:
        log.error("export broken off", workspace_id=str(workspace_id), error=type(error).__name__)
        raise
    yield dump({"part": "end", "row": counts})


def _read_for_client(
    part: Part, workspace_id: uuid.UUID, after: Any, check: Callable[[], None]
) -> tuple[list[Line], Any]:
    check()
    chunk = read(part, workspace_id, after)
    if part is not IMAGES:
        return chunk.lines, chunk.after
    now = clock.now()
    urls = [None if image.deleted_at else storage.signed_url(image, now) for image in chunk.rows]
    return [line | {"url": url} for line, url in zip(chunk.lines, urls, strict=True)], chunk.after
