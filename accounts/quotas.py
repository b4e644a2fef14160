"""Limits on what a workspace, its members, keys and end users may use per period.

Only the limits are here. Whoever accepts work counts what is used, and changes limits together with its counts.
"""

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from accounts import api_keys, audit, ids, periods, tenancy
from accounts.audit import Origin
from accounts.models import ApiKey, Membership, Quota, QuotaUnit, Subject, Window
from accounts.periods import Period, Schedule

HASH = re.compile("[0-9a-f]{64}")
MAX_LIMIT = 2**53  # beyond it a reader of JSON may round
MAX_QUOTAS = 1_000  # of one workspace; all are read with every job


class InvalidLimit(ValueError):
    """What is wrong with a limit; `field` is one of its names."""

    def __init__(self, field: str, message: str) -> None:
        self.field, self.message = field, message
        super().__init__(f"{field}: {message}")


class UnknownSubject(InvalidLimit):
    """The workspace has no such member or key; whether another one has is not said."""

    def __init__(self, subject: Subject) -> None:
        super().__init__("subject_id", f"the workspace has no such {subject}.")


class TooManyQuotas(Exception):
    """The workspace has as many as it may."""

    def __init__(self) -> None:
        self.most = MAX_QUOTAS
        super().__init__(f"A workspace may have at most {MAX_QUOTAS} quotas.")


class QuotaNotFound(Exception):
    """The workspace has no such quota."""


@dataclass(frozen=True)
class Limit:
    """One quota. `subject_id` is a membership's id, a key's lineage, an end user's hash, or empty: each one."""

    id: uuid.UUID
    subject: Subject
    subject_id: str
    unit: QuotaUnit
    window: Window
    limit: int
    is_hard: bool
    anchor_day: int

    @property
    def is_for_each(self) -> bool:
        """Whether it stands for many subjects, each with a count of its own."""
        return self.subject != Subject.WORKSPACE and not self.subject_id

    @property
    def counter(self) -> tuple[str, str, str, str]:
        """Names the count that it limits, and the order in which counts are locked."""
        return self.subject, self.subject_id, self.unit, self.window

    def period(self, schedule: Schedule, now: datetime) -> Period:
        return periods.period(self.window, schedule, now, self.anchor_day)


@dataclass(frozen=True)
class QuotaState:
    """One limit, what was used of it in the period, and when it starts anew (None: never)."""

    limit: Limit
    used: int
    resets_at: datetime | None

    @property
    def left(self) -> int:
        return max(0, self.limit.limit - self.used)


# --- Reading ------------------------------------------------------------------------------------


def read(workspace_id: uuid.UUID) -> tuple[Limit, ...]:
    """The workspace's limits in the order of their counters. Whoever asks with every job keeps them."""
    limits = (limit_of(row) for row in Quota.objects.for_workspace(workspace_id))
    return tuple(sorted(limits, key=lambda limit: limit.counter))


def limit_of(row: Quota) -> Limit:
    return Limit(
        row.pk,
        Subject(row.subject),
        row.subject_id,
        QuotaUnit(row.unit),
        Window(row.window),
        row.limit,
        row.is_hard,
        row.anchor_day,
    )


def applicable(
    limits: Iterable[Limit],
    member_id: uuid.UUID | None = None,
    key_lineage_id: uuid.UUID | None = None,
    end_user_hash: str = "",
) -> list[Limit]:
    """The limits that a request of these falls under, in the order of their counters, each with its subject.

    One for each member, key or end user gives way to the subject's own of the same unit and window.
    """
    mine = {
        Subject.WORKSPACE: "",
        Subject.MEMBER: str(member_id or ""),
        Subject.KEY: str(key_lineage_id or ""),
        Subject.END_USER: end_user_hash,
    }
    found: dict[tuple[str, str, str, str], Limit] = {}
    # Those for each come first, so that the subject's own replaces them.
    for limit in sorted(limits, key=lambda limit: limit.subject_id):
        subject_id = mine[limit.subject]
        if limit.subject_id in ("", subject_id) and (subject_id or limit.subject == Subject.WORKSPACE):
            filled = replace(limit, subject_id=subject_id)
            found[filled.counter] = filled
    return [found[counter] for counter in sorted(found)]


def public_subjects(workspace_id: uuid.UUID, subject: Subject, subject_ids: Iterable[str]) -> dict[str, str]:
    """What subjects of one kind are called outside, by subject id: a member's or a key's public id, else itself.

    A lineage is called by its latest key.
    """
    wanted = [subject_id for subject_id in subject_ids if subject_id]
    if subject == Subject.MEMBER:
        return {member: ids.public(ids.Prefix.MEMBERSHIP, uuid.UUID(member)) for member in wanted}
    if subject == Subject.KEY:
        keys = ApiKey.objects.for_workspace(workspace_id).filter(lineage_id__in=wanted).order_by("pk")
        return {str(key.lineage_id): ids.public(ids.Prefix.KEY, key.pk) for key in keys}
    return {subject_id: subject_id for subject_id in wanted}


# --- Changing -----------------------------------------------------------------------------------


def set_limit(
    workspace_id: uuid.UUID,
    subject: Subject,
    subject_id: str,
    unit: QuotaUnit,
    window: Window,
    limit: int,
    *,
    is_hard: bool = True,
    anchor_day: int = 1,
    origin: Origin = audit.SYSTEM,
) -> Quota:
    """Limit a subject's use per window; replaces its limit of the same unit and window. Zero lets nothing through.

    `subject_id` is a membership's or key's id as text, an end user's hash, or empty for each one of the kind.
    Raises InvalidLimit, UnknownSubject or TooManyQuotas.
    """
    check(subject, subject_id, window, limit, anchor_day)
    with tenancy.writing(workspace_id):
        resolved = resolve(workspace_id, subject, subject_id)
        mine = Quota.objects.for_workspace(workspace_id)
        quota, is_new = mine.update_or_create(
            workspace_id=workspace_id,
            subject=subject,
            subject_id=resolved,
            unit=unit,
            window=window,
            defaults={"limit": limit, "is_hard": is_hard, "anchor_day": anchor_day},
        )
        if is_new and mine.count() > MAX_QUOTAS:
            raise TooManyQuotas
        _record(audit.Event.QUOTA_SET, quota, origin)
    return quota


def remove(workspace_id: uuid.UUID, quota_id: uuid.UUID, origin: Origin = audit.SYSTEM) -> Limit:
    """The limit that is no more; raises QuotaNotFound."""
    with tenancy.writing(workspace_id):
        quota = Quota.objects.for_workspace(workspace_id).filter(pk=quota_id).first()
        if quota is None:
            raise QuotaNotFound
        removed = limit_of(quota)
        _record(audit.Event.QUOTA_REMOVED, quota, origin)
        quota.delete()
    return removed


def check(subject: Subject, subject_id: str, window: Window, limit: int, anchor_day: int) -> None:
    """Raise InvalidLimit for what no workspace could have."""
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise InvalidLimit("limit", "must be a whole number.")
    if not 0 <= limit <= MAX_LIMIT:
        raise InvalidLimit("limit", f"must be between 0 and {MAX_LIMIT}.")
    if anchor_day not in periods.ANCHOR_DAYS:
        raise InvalidLimit("anchor_day", "must be between 1 and 31.")
    if anchor_day != 1 and window != Window.MONTH:
        raise InvalidLimit("anchor_day", "is only for the window month.")
    if subject == Subject.WORKSPACE and subject_id:
        raise InvalidLimit("subject_id", "must be empty for the workspace itself.")
    if subject == Subject.END_USER and subject_id and not HASH.fullmatch(subject_id):
        raise InvalidLimit("subject_id", "must be an end user's hash, never the plain id.")


def resolve(workspace_id: uuid.UUID, subject: Subject, subject_id: str) -> str:
    """The id that use is counted under; raises UnknownSubject for a member or key that the workspace has not."""
    if not subject_id or subject not in (Subject.MEMBER, Subject.KEY):
        return subject_id
    find = _present_member if subject == Subject.MEMBER else api_keys.lineage_of
    try:
        found = find(workspace_id, uuid.UUID(subject_id))
    except ValueError:
        found = None
    if found is None:
        raise UnknownSubject(subject)
    return str(found)


def _present_member(workspace_id: uuid.UUID, member_id: uuid.UUID) -> uuid.UUID | None:
    present = Membership.objects.for_workspace(workspace_id).filter(removed_at__isnull=True)
    return present.filter(pk=member_id).values_list("pk", flat=True).first()


def _record(event: audit.Event, quota: Quota, origin: Origin) -> None:
    audit.record(
        event,
        quota.workspace_id,
        ids.public(ids.Prefix.QUOTA, quota.pk),
        origin,
        subject=quota.subject,
        subject_id=quota.subject_id,
        unit=quota.unit,
        window=quota.window,
        limit=quota.limit,
        is_hard=quota.is_hard,
        anchor_day=quota.anchor_day,
    )
