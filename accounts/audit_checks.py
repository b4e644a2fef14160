"""Looks for anything in the audit log that is not as it was sealed. Reports, never mends.

`manage.py verify_audit` prints what it finds. Everything is read in pages, so memory does not grow with the log.
"""

import itertools
import json
import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from django.conf import settings
from django.db.models import F, Q

from accounts import audit_seals, ids
from accounts.models import AuditEvent, AuditSeal, SealedEvent, Workspace

PAGE = 500
# No transaction stays open for so long, and no event waits so long for its seal.
LATE = timedelta(hours=1)

Item = TypeVar("Item")


class Kind(StrEnum):
    EVENT_CHANGED = "event differs from what was sealed"
    EVENT_MISSING = "sealed event is gone"
    EVENT_INSERTED = "event was added to a time already sealed"
    EVENT_UNSEALED = "event was never sealed"
    SEAL_CHANGED = "seal or the places of its events differ from its digest"
    SEAL_MISSING = "seal is gone from the middle of the chain"
    LINK_BROKEN = "seal does not continue the one before"
    HEAD_MISSING = "chain ends before a known head"
    HEAD_DIFFERS = "seal differs from the known head"
    SECRET_MISSING = "secret of a seal is not among ATELIER_KEYRING_SECRETS"  # noqa: S105


@dataclass(frozen=True)
class Discrepancy:
    """One thing that is wrong: its kind, where it was seen, and the numbers. It tells no event's content."""

    kind: Kind
    subject: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.subject} ({self.detail})"


@dataclass(frozen=True)
class Head:
    """A seal as it was told when it was made, kept where the database's writers cannot reach it."""

    workspace_id: uuid.UUID
    number: int
    digest: str


@dataclass(frozen=True)
class Chain:
    """How much of a workspace is sealed, and its head now."""

    events: int
    head: Head


def verify(workspace_id: uuid.UUID | None, heads: Iterable[Head], now: datetime) -> Iterator[Discrepancy]:
    """All discrepancies of one workspace's audit log, or of all; none when it is as it was sealed.

    Every head counts, not only the last: whoever made a chain anew had it logged anew, and the log tells both.
    """
    for one in _workspaces(workspace_id):
        yield from _chain(one, now)
    yield from _against(head for head in heads if workspace_id in (None, head.workspace_id))


def heads_in(lines: Iterable[str]) -> Iterator[Head]:
    """The heads that our JSON log tells; other lines are passed over."""
    for line in lines:
        match _json(line) if audit_seals.SEALED in line else None:
            case {
                "event": audit_seals.SEALED,
                "workspace_id": str(owner),
                "number": int(number),
                "digest": str(digest),
            }:
                yield Head(ids.parse(ids.Prefix.WORKSPACE, owner), number, digest)


def _json(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def chains(workspace_id: uuid.UUID | None) -> Iterator[Chain]:
    """What there is to trust, once `verify` has found nothing."""
    for one in _workspaces(workspace_id):
        last = AuditSeal.objects.for_workspace(one).order_by("-number").first()
        if last is not None:
            events = SealedEvent.objects.for_workspace(one).count()
            yield Chain(events, Head(one, last.number, last.digest))


def _workspaces(workspace_id: uuid.UUID | None) -> Iterable[uuid.UUID]:
    if workspace_id is not None:
        return [workspace_id]
    return Workspace.objects.order_by("pk").values_list("pk", flat=True).iterator(PAGE)


def _pages(items: Iterable[Item]) -> Iterator[list[Item]]:
    rest = iter(items)
    while page := list(itertools.islice(rest, PAGE)):
        yield page


@dataclass(frozen=True)
class _Place:
    """A row of a seal beside the event it tells of, if that is there."""

    row: SealedEvent
    event: AuditEvent | None


def _chain(workspace_id: uuid.UUID, now: datetime) -> Iterator[Discrepancy]:
    before: AuditSeal | None = None
    past, missing_secrets = _Past(), set[str]()
    for seal, places in _links(workspace_id):
        yield from _link(before, seal)
        yield from _gone(seal, places)
        if seal.key_id in settings.KEYRING_SECRETS:
            yield from _contents(seal, places, past)
        elif seal.key_id not in missing_secrets:
            missing_secrets.add(seal.key_id)
            yield Discrepancy(Kind.SECRET_MISSING, _name(seal), f"id {seal.key_id}, first needed here")
        past.add(seal, places)
        before = seal
    yield from _left_out(workspace_id, past, now)


def _links(workspace_id: uuid.UUID) -> Iterator[tuple[AuditSeal, list[_Place]]]:
    """The seals in their order. One query for seals and places: read apart, a new seal would seem to have none."""
    rows = AuditSeal.objects.for_workspace(workspace_id).annotate(
        place_id=F("events__event_id"),
        place_workspace_id=F("events__workspace_id"),
        position=F("events__position"),
        place_digest=F("events__digest"),
    )
    ordered = rows.order_by("number", "events__position").iterator(PAGE)
    for _, group in itertools.groupby(_with_events(ordered), key=lambda pair: pair[0].number):
        pairs = list(group)
        yield pairs[0][0], [place for _, place in pairs if place is not None]


def _with_events(rows: Iterable[Any]) -> Iterator[tuple[AuditSeal, _Place | None]]:
    for page in _pages(rows):
        wanted = [row.place_id for row in page if row.place_id is not None]
        # Of whatever workspace: that an event changed hands shows in its digest.
        found = AuditEvent.objects.across_workspaces().in_bulk(wanted)
        for row in page:
            yield row, None if row.place_id is None else _Place(_place(row), found.get(row.place_id))


def _place(row: Any) -> SealedEvent:
    return SealedEvent(
        event_id=row.place_id,
        workspace_id=row.place_workspace_id,
        position=row.position,
        digest=row.place_digest,
    )


def _link(before: AuditSeal | None, seal: AuditSeal) -> Iterator[Discrepancy]:
    expected = before.number + 1 if before else 1
    if seal.number != expected:
        yield Discrepancy(Kind.SEAL_MISSING, _name(seal), f"number {expected} should come before it")
    elif seal.previous_digest != (before.digest if before else ""):
        yield Discrepancy(Kind.LINK_BROKEN, _name(seal), "it names another digest")


def _gone(seal: AuditSeal, places: list[_Place]) -> Iterator[Discrepancy]:
    for place in places:
        if place.event is None:
            yield Discrepancy(Kind.EVENT_MISSING, *_where(seal, place))


def _contents(seal: AuditSeal, places: list[_Place], past: "_Past") -> Iterator[Discrepancy]:
    is_mine = all(place.row.workspace_id == seal.workspace_id for place in places)
    if not is_mine or seal.digest != audit_seals.seal_digest(seal, [place.row for place in places]):
        yield Discrepancy(Kind.SEAL_CHANGED, _name(seal), f"{len(places)} events")
    for place in places:
        if place.event is None:
            continue
        if place.row.digest != audit_seals.event_digest(place.event, seal.key_id):
            yield Discrepancy(Kind.EVENT_CHANGED, *_where(seal, place))
        elif past.was_over(place.event, seal.created_at):
            yield Discrepancy(Kind.EVENT_INSERTED, *_where(seal, place))


def _where(seal: AuditSeal, place: _Place) -> tuple[str, str]:
    subject = f"{_workspace(seal.workspace_id)} event {place.row.event_id}"
    return subject, f"seal {seal.number}, position {place.row.position}"


class _Past:
    """How far the chain had come an hour before: what a later seal finds in there was added afterwards.

    Ids and times rise together, but for transactions that were open side by side, and those end within LATE.
    """

    def __init__(self) -> None:
        self._recent: deque[tuple[datetime, int]] = deque()  # seals of the last hour: made at, highest id
        self._highest = 0
        self._newest = datetime.min.replace(tzinfo=UTC)

    def add(self, seal: AuditSeal, places: list[_Place]) -> None:
        events = [place.event for place in places if place.event is not None]
        self._recent.append((seal.created_at, max((place.row.event_id for place in places), default=0)))
        self._newest = max([self._newest, *(event.created_at for event in events)])

    def highest(self, at: datetime) -> int:
        """The highest id that had been sealed for as long as LATE at that time."""
        while self._recent and at - self._recent[0][0] > LATE:
            self._highest = max(self._highest, self._recent.popleft()[1])
        return self._highest

    def was_over(self, event: AuditEvent, at: datetime) -> bool:
        """Whether an event that was sealed then came too late for the id or the time it has."""
        return event.pk < self.highest(at) or self._newest - event.created_at > LATE


def _left_out(workspace_id: uuid.UUID, past: _Past, now: datetime) -> Iterator[Discrepancy]:
    highest = past.highest(now)
    events = audit_seals.unsealed().filter(workspace_id=workspace_id).order_by("pk")
    for event in events.filter(Q(created_at__lt=now - LATE) | Q(pk__lt=highest)).iterator(PAGE):
        kind = Kind.EVENT_INSERTED if event.pk < highest else Kind.EVENT_UNSEALED
        subject = f"{_workspace(workspace_id)} event {event.pk}"
        yield Discrepancy(kind, subject, f"not sealed, recorded at {event.created_at.isoformat()}")


def _against(heads: Iterable[Head]) -> Iterator[Discrepancy]:
    for page in _pages(heads):
        rows = AuditSeal.objects.across_workspaces().filter(
            workspace_id__in={head.workspace_id for head in page}, number__in={head.number for head in page}
        )
        digests = {(row.workspace_id, row.number): row.digest for row in rows}
        for head in page:
            digest = digests.get((head.workspace_id, head.number))
            subject = f"{_workspace(head.workspace_id)} seal {head.number}"
            if digest is None:
                yield Discrepancy(Kind.HEAD_MISSING, subject, f"known as {head.digest}")
            elif digest != head.digest:
                yield Discrepancy(Kind.HEAD_DIFFERS, subject, f"known as {head.digest}, is {digest}")


def _workspace(workspace_id: uuid.UUID) -> str:
    return ids.public(ids.Prefix.WORKSPACE, workspace_id)


def _name(seal: AuditSeal) -> str:
    return f"{_workspace(seal.workspace_id)} seal {seal.number}"
