"""Chains each workspace's audit events, so that a change of what was recorded can be found afterwards.

A seal takes events that no seal has taken yet, lowest id first. An event's digest covers all of its columns, a seal's
digest the seal before it and its events in their places. Both are HMAC-SHA-256 under a key made from one of
ATELIER_KEYRING_SECRETS: whoever has the database alone can break a chain, but not make one. The head of a chain goes
to the log with every seal, so a chain that was cut contradicts the log. `audit_checks` looks for all of that.
"""

import hashlib
import hmac
import json
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Exists, F, Max, OuterRef, QuerySet, Window
from django.db.models.functions import RowNumber

from accounts import ids
from accounts.models import AuditEvent, AuditSeal, SealedEvent

log = structlog.get_logger(__name__)

SEALED = "audit sealed"  # the log line that anchors a head
EVENTS_PER_SEAL = 250
SEALS_PER_ROUND = 100  # a backlog must not keep whoever else works on the same clock waiting for long

NEWEST_EVERY = timedelta(minutes=1)
ALL_EVERY = timedelta(hours=1)
# Ids of all workspaces together that the round of every minute looks at, however large the table has become.
NEWEST = 100_000

# What an event's digest covers: every column. A later column needs a digest of its own beside this one, or all that
# was sealed before would look changed.
COLUMNS = (
    "id",
    "workspace_id",
    "action",
    "actor",
    "target",
    "data",
    "prompt_hash",
    "prompt_hash_key_id",
    "request_id",
    "created_at",
)


def _digest(key_id: str, lines: Iterable[object]) -> str:
    key = hmac.digest(settings.KEYRING_SECRETS[key_id].encode(), b"seal audit events", hashlib.sha256)
    made = hmac.new(key, digestmod=hashlib.sha256)
    for line in lines:
        text = json.dumps(line, sort_keys=True, separators=(",", ":"), default=_text)
        made.update(text.encode() + b"\n")
    return made.hexdigest()


def _text(value: object) -> str:
    return value.astimezone(UTC).isoformat("T", "microseconds") if isinstance(value, datetime) else str(value)


def event_digest(event: AuditEvent, key_id: str) -> str:
    return _digest(key_id, ["event", {column: getattr(event, column) for column in COLUMNS}])


def seal_digest(seal: AuditSeal, places: Iterable[SealedEvent]) -> str:
    head = ["seal", seal.workspace_id, seal.number, seal.key_id, seal.previous_digest, seal.created_at]
    return _digest(seal.key_id, [head, *([one.position, one.event_id, one.digest] for one in places)])


def unsealed(first: int = 0) -> QuerySet[AuditEvent]:
    """Events of all workspaces, from an id on, without a place in their own workspace's chain."""
    # The bound stands on both sides: PostgreSQL infers none, and would read every place there ever was.
    places = SealedEvent.objects.across_workspaces().filter(event_id__gte=first)
    its_own = places.filter(event_id=OuterRef("pk"), workspace_id=OuterRef("workspace_id"))
    return AuditEvent.objects.across_workspaces().filter(~Exists(its_own), pk__gte=first)


def seal(workspace_id: uuid.UUID, now: datetime, candidates: list[int] | None = None) -> AuditSeal | None:
    """Chain the workspace's next unsealed events; None without any, or when another sealer was quicker.

    An id is handed out before its event is committed, so a lower one may appear after a higher one was sealed; it
    goes into a later seal. `candidates`: ids of events that were unsealed a moment ago; it looks at no others.
    """
    chain = AuditSeal.objects.for_workspace(workspace_id)
    last = chain.order_by("-number").first()
    number = last.number + 1 if last else 1
    try:
        with transaction.atomic():
            # Read after the chain's end: events of a seal that was made meanwhile are missing here, not taken twice.
            events = unsealed().filter(workspace_id=workspace_id)
            events = events if candidates is None else events.filter(pk__in=candidates)
            taken = list(events.order_by("pk")[:EVENTS_PER_SEAL])
            return _append(last, number, taken, now) if taken else None
    except IntegrityError:
        if chain.filter(number=number).exists():
            return None
        raise  # an event has a place in a foreign chain: nobody but an intruder puts it there


def _append(last: AuditSeal | None, number: int, events: list[AuditEvent], now: datetime) -> AuditSeal:
    made = AuditSeal(
        workspace_id=events[0].workspace_id,
        number=number,
        key_id=next(iter(settings.KEYRING_SECRETS)),
        previous_digest=last.digest if last else "",
        created_at=now,
    )
    places = [
        SealedEvent(
            workspace_id=made.workspace_id,
            seal=made,
            event_id=event.pk,
            position=position,
            digest=event_digest(event, made.key_id),
        )
        for position, event in enumerate(events, start=1)
    ]
    made.digest = seal_digest(made, places)
    made.save(force_insert=True)
    SealedEvent.objects.bulk_create(places)
    transaction.on_commit(lambda: _anchor(made, len(places)))
    return made


def _anchor(made: AuditSeal, events: int) -> None:
    workspace_id = ids.public(ids.Prefix.WORKSPACE, made.workspace_id)
    log.info(SEALED, workspace_id=workspace_id, number=made.number, digest=made.digest, events=events)


def seal_due(now: datetime, first: int = 0) -> int:
    """Seal for all workspaces in turns, the longest waiting first; returns how many seals were made.

    Fewer than SEALS_PER_ROUND: nothing from the id `first` on is left that was committed when this began.
    """
    made = 0
    for workspace_id, candidates in _in_turns(first):
        if made == SEALS_PER_ROUND:
            break
        made += _is_sealed(workspace_id, now, candidates)
    return made


def _in_turns(first: int) -> Iterator[tuple[uuid.UUID, list[int]]]:
    """Unsealed ids for one seal after the other: the lowest of every workspace, then the next of every one."""
    turn = Window(RowNumber(), partition_by=F("workspace_id"), order_by=F("id").asc())
    found = unsealed(first).annotate(turn=turn).order_by("turn", "id").values_list("workspace_id", "id")
    waiting: dict[uuid.UUID, list[int]] = {}
    for workspace_id, event_id in found[: SEALS_PER_ROUND * EVENTS_PER_SEAL]:
        waiting.setdefault(workspace_id, []).append(event_id)
    for start in range(0, max(map(len, waiting.values()), default=0), EVENTS_PER_SEAL):
        for workspace_id, mine in waiting.items():
            if candidates := mine[start : start + EVENTS_PER_SEAL]:
                yield workspace_id, candidates


def _is_sealed(workspace_id: uuid.UUID, now: datetime, candidates: list[int]) -> bool:
    """Seal once; a workspace that cannot be sealed is logged and keeps no other waiting."""
    try:
        return seal(workspace_id, now, candidates) is not None
    except Exception:
        public_id = ids.public(ids.Prefix.WORKSPACE, workspace_id)
        log.exception("sealing an audit log failed", workspace_id=public_id)
        return False


class Rounds:
    """When a process seals: the newest events every minute, and whatever is unsealed at first and every hour.

    What the round of a minute may miss (an event whose transaction stayed open while NEWEST more were recorded, the
    backlog of a failure) waits for the hour and is not lost. A round that came to its limit goes on at the next call.
    """

    def __init__(self) -> None:
        self._newest_at: datetime | None = None
        self._all_at: datetime | None = None

    def seal(self, now: datetime) -> int:
        """Seal if it is time; returns how many seals were made."""
        is_all = _is_due(self._all_at, ALL_EVERY, now)
        if not is_all and not _is_due(self._newest_at, NEWEST_EVERY, now):
            return 0
        made = seal_due(now, 0 if is_all else _first_of_newest())
        if made < SEALS_PER_ROUND:
            self._newest_at = now
            self._all_at = now if is_all else self._all_at
        return made


def _is_due(before: datetime | None, every: timedelta, now: datetime) -> bool:
    return before is None or now - before >= every


def _first_of_newest() -> int:
    highest: int | None = AuditEvent.objects.across_workspaces().aggregate(highest=Max("pk"))["highest"]
    return max(0, (highest or 0) - NEWEST)
