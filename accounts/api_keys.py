"""API keys: issue, authenticate, rotate, revoke.

What a key looks like is in `key_text`. Stored is only HMAC-SHA-256 of the whole key under a pepper that is not in
the database; peppers rotate by id, and a key that is used moves to the first of them.

What authentication needs of a key is kept in the process (`lookups`); its end, its member and its workspace are
checked after that on every call.
"""

import hashlib
import hmac
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Q, QuerySet

from accounts import audit, ids, key_terms, key_text, lookups, tenancy
from accounts.audit import Event, Origin
from accounts.key_terms import Terms
from accounts.lookups import Lookup, Topic
from accounts.models import ApiKey, Membership, Side, Workspace

MAX_GRACE = timedelta(days=30)


class KeyRefused(Exception):
    """The presented key does not open anything; subclasses say why."""


class MalformedKey(KeyRefused):
    """Not the shape of a key, or its checksum is wrong: a typo or a key of another service."""


class UnknownKey(KeyRefused):
    """Well-formed, but never issued here."""


class RevokedKey(KeyRefused):
    """Issued and later revoked, or its member was removed or deactivated."""


class ExpiredKey(KeyRefused):
    """Its end date has passed."""


class WorkspaceSuspended(KeyRefused):
    """The key is fine; its workspace may not call."""


class NotRotatable(Exception):
    """The key has ended or was replaced already; only the last of a lineage can be replaced."""


@dataclass(frozen=True)
class IssuedKey:
    """A new key with its plain text, which exists only in this value."""

    key: ApiKey
    plain_text: str = field(repr=False)


def _digest(plain_text: str, pepper_id: str) -> str:
    pepper = settings.KEY_PEPPERS[pepper_id]
    return hmac.digest(pepper.encode(), plain_text.encode(), hashlib.sha256).hex()


def issue(
    workspace: Workspace,
    name: str,
    *,
    side: Side = Side.LIVE,
    membership: Membership | None = None,
    terms: Terms = key_terms.NO_LIMITS,
    origin: Origin = audit.SYSTEM,
) -> IssuedKey:
    """Make a key of a member, or a service key without one. The plain text cannot be had again."""
    if membership is not None and membership.workspace_id != workspace.pk:
        raise ValueError("The member belongs to another workspace.")
    with tenancy.writing(workspace.pk):
        issued = _create(
            workspace=workspace, name=name, side=side, membership=membership, **key_terms.columns(terms)
        )
        # The audit outlives the workspace, so it tells no name and no address, which may be a person's.
        audit.record(
            Event.KEY_ISSUED,
            workspace.pk,
            public_id(issued.key),
            origin,
            side=side,
            scopes=issued.key.scopes,
            expires_at=terms.expires_at and terms.expires_at.isoformat(),
        )
    return issued


def _create(**fields: Any) -> IssuedKey:
    key_id = key_text.random(key_text.ID_LENGTH)
    body = f"atl_{fields['side']}_{key_id}_{key_text.random(key_text.SECRET_LENGTH)}"
    plain_text = body + key_text.checksum(body)
    pepper_id = _current_pepper()
    key = ApiKey(key_id=key_id, digest=_digest(plain_text, pepper_id), pepper_id=pepper_id, **fields)
    key.save(force_insert=True)
    return IssuedKey(key, plain_text)


def _current_pepper() -> str:
    return next(iter(settings.KEY_PEPPERS))


# --- Authenticating -----------------------------------------------------------------------------


def authenticate(presented: str, now: datetime) -> ApiKey:
    """The key behind a presented text; raises a KeyRefused that says why not. The row is shared: do not change it."""
    match = key_text.parse(presented)
    if match is None:
        raise MalformedKey
    key = _kept(match["key_id"])
    if not _is_text_of(key, presented):
        raise UnknownKey
    refuse_ended(key, now)
    if key.pepper_id != _current_pepper():
        _move_to_current_pepper(key, presented)
    return key


def _load(key_id: str) -> ApiKey:
    for key in _by_id(key_id):
        return key
    raise UnknownKey


def _by_id(*key_ids: str) -> list[ApiKey]:
    with tenancy.reading(tenancy.EVERY_WORKSPACE):
        rows = ApiKey.objects.across_workspaces().select_related("workspace", "membership__user")
        return list(rows.filter(key_id__in=key_ids))


_kept = Lookup(Topic.KEYS, _load)


def _is_text_of(key: ApiKey, plain_text: str) -> bool:
    if key.pepper_id not in settings.KEY_PEPPERS:
        return False
    return hmac.compare_digest(key.digest, _digest(plain_text, key.pepper_id))


def refuse_ended(key: ApiKey, now: datetime) -> None:
    """Raise the KeyRefused that fits a key which may not call any more."""
    if key.revoked_at is not None or (key.membership is not None and not _is_active(key.membership)):
        raise RevokedKey
    if key.expires_at is not None and key.expires_at <= now:
        raise ExpiredKey
    if key.workspace.suspended_at is not None:
        raise WorkspaceSuspended


def _is_active(membership: Membership) -> bool:
    return membership.removed_at is None and membership.user.is_active


def _move_to_current_pepper(key: ApiKey, plain_text: str) -> None:
    """Only now is the plain text at hand: digest it anew, so that the old pepper can be retired one day."""
    pepper_id = _current_pepper()
    with tenancy.writing(key.workspace_id):
        rows = ApiKey.objects.for_workspace(key.workspace_id).filter(pk=key.pk, pepper_id=key.pepper_id)
        rows.update(pepper_id=pepper_id, digest=_digest(plain_text, pepper_id))


# --- Ending -------------------------------------------------------------------------------------


def rotate(key: ApiKey, grace: timedelta, origin: Origin = audit.SYSTEM) -> IssuedKey:
    """Replace a key by a new one of the same terms and budgets; the old one goes on for the grace time.

    Raises NotRotatable for a key that has ended or was replaced, ValueError for a grace beyond MAX_GRACE.
    """
    if not timedelta() <= grace <= MAX_GRACE:
        raise ValueError(f"The grace time must be between 0 and {MAX_GRACE.days} days.")
    with tenancy.writing(key.workspace_id) as now:
        old = ApiKey.objects.for_workspace(key.workspace_id).select_for_update(no_key=True).get(pk=key.pk)
        has_ended = old.revoked_at is not None or (old.expires_at is not None and old.expires_at <= now)
        if has_ended or old.replaced_by_id is not None:
            raise NotRotatable
        issued = _create(
            workspace_id=old.workspace_id,
            name=old.name,
            side=Side(old.side),
            membership_id=old.membership_id,
            lineage_id=old.lineage_id,
            **key_terms.columns(key_terms.of(old)),
        )
        ends_at = min(filter(None, (old.expires_at, now + grace)))
        old.replaced_by, old.expires_at = issued.key, ends_at
        old.save(update_fields=["replaced_by", "expires_at"])
        successor = public_id(issued.key)
        audit.record(
            Event.KEY_ROTATED,
            key.workspace_id,
            public_id(key),
            origin,
            replaced_by=successor,
            ends_at=ends_at.isoformat(),
        )
    return issued


def revoke(
    key: ApiKey,
    now: datetime,
    origin: Origin = audit.SYSTEM,
    *,
    event: Event = Event.KEY_REVOKED,
    **data: Any,
) -> bool:
    """End a key now; a second call changes nothing. Whether it was this call that ended it."""
    with tenancy.writing(key.workspace_id):
        mine = ApiKey.objects.for_workspace(key.workspace_id).filter(pk=key.pk, revoked_at__isnull=True)
        has_ended = bool(mine.update(revoked_at=now))
        if has_ended:
            audit.record(event, key.workspace_id, public_id(key), origin, **data)
            transaction.on_commit(lookups.forget)
    return has_ended


def lock(keys: QuerySet[ApiKey]) -> None:
    """Hold the rows of several keys until the transaction ends: everybody in one order, so that none wait in a circle.

    Not against jobs that name the keys, whose inserts go on.
    """
    list(keys.order_by("pk").select_for_update(no_key=True).values_list("pk"))


# --- Finding ------------------------------------------------------------------------------------


def find(plain_text: str) -> ApiKey | None:
    """The key of a text, also one that has ended; None for a text that is no key of this deployment."""
    return find_all([plain_text]).get(plain_text)


def find_all(plain_texts: Iterable[str]) -> dict[str, ApiKey]:
    """As `find`, for several texts by one query; texts that are no keys of this deployment are left out."""
    ids_by_text = {text: match["key_id"] for text in plain_texts if (match := key_text.parse(text))}
    keys = {key.key_id: key for key in _by_id(*ids_by_text.values())}
    named = {text: keys[key_id] for text, key_id in ids_by_text.items() if key_id in keys}
    return {text: key for text, key in named.items() if _is_text_of(key, text)}


def live_by_pepper(now: datetime) -> dict[str, int]:
    """How many keys that have not ended have their digest under which pepper, by its id."""
    with tenancy.reading(tenancy.EVERY_WORKSPACE):
        live = ApiKey.objects.across_workspaces().filter(revoked_at__isnull=True)
        live = live.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now))
        live = live.filter(Q(membership__isnull=True) | Q(membership__removed_at__isnull=True))
        return dict(live.values_list("pepper_id").annotate(keys=Count("pk")).order_by("pepper_id"))


def public_id(key: ApiKey) -> str:
    return ids.public(ids.Prefix.KEY, key.pk)


def lineage_of(workspace_id: uuid.UUID, key_pk: uuid.UUID) -> uuid.UUID | None:
    """The lineage that a key's budgets are counted under; None for a key of somebody else."""
    rows = ApiKey.objects.for_workspace(workspace_id).filter(pk=key_pk)
    return rows.values_list("lineage_id", flat=True).first()
