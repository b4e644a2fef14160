"""Keys as one of them manages them: which it sees, which it may make or replace.

Whoever gets a key's text can act as that key. So a key hands out texts only of keys that it could be itself: of its
own member or of the workspace, with no more than its own terms, and from the test side only of the test side.
Revoking hands out nothing and is possible for every key that is seen.
"""

import dataclasses
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet, TextChoices

from accounts import api_keys, audit, key_terms, tenancy
from accounts.api_keys import IssuedKey
from accounts.audit import Origin
from accounts.key_terms import BroaderThanGiver, InvalidTerms, Terms
from accounts.models import ApiKey, Membership, Side


class KeyNotFound(Exception):
    """The managing key sees no such key; whether there is one is not said."""


class KeyOfAnotherMember(Exception):
    """Its text would let the caller act as that member; it can be revoked, or its member replaces it."""


class State(TextChoices):
    ACTIVE = "active"
    REVOKED = "revoked"
    EXPIRED = "expired"


_IS_REVOKED = (
    Q(revoked_at__isnull=False)
    | Q(membership__removed_at__isnull=False)
    | Q(membership__user__is_active=False)
)


def state_of(key: ApiKey, now: datetime) -> State:
    """What authentication would say of it, apart from the workspace's own state."""
    try:
        api_keys.refuse_ended(key, now)
    except api_keys.RevokedKey:
        return State.REVOKED
    except api_keys.ExpiredKey:
        return State.EXPIRED
    except api_keys.WorkspaceSuspended:
        pass
    return State.ACTIVE


def in_state(keys: QuerySet[ApiKey], state: State, now: datetime) -> QuerySet[ApiKey]:
    is_expired = Q(expires_at__isnull=False, expires_at__lte=now)
    match state:
        case State.REVOKED:
            return keys.filter(_IS_REVOKED)
        case State.EXPIRED:
            return keys.filter(~_IS_REVOKED & is_expired)
        case State.ACTIVE:
            return keys.filter(~_IS_REVOKED & ~is_expired)


def seen_by(manager: ApiKey) -> QuerySet[ApiKey]:
    """The workspace's keys; a key of the test side sees none of the live side."""
    keys = ApiKey.objects.for_workspace(manager.workspace_id)
    if manager.side == Side.TEST:
        keys = keys.filter(side=Side.TEST)
    return keys.select_related("workspace", "membership__user", "replaced_by")


def get(manager: ApiKey, key_pk: uuid.UUID) -> ApiKey:
    key = seen_by(manager).filter(pk=key_pk).first()
    if key is None:
        raise KeyNotFound
    return key


def lineage(key: ApiKey) -> list[ApiKey]:
    """The keys that it replaced and that replaced it, oldest first, itself among them."""
    rows = ApiKey.objects.for_workspace(key.workspace_id).filter(lineage_id=key.lineage_id)
    return list(rows.select_related("workspace", "membership__user").order_by("pk"))


def terms_like(giver: ApiKey) -> Terms:
    """The terms of a new key of which nothing else is said: the giver's own, without the administration."""
    own = key_terms.of(giver)
    return dataclasses.replace(
        own, scopes=tuple(scope for scope in own.scopes if scope in key_terms.DEFAULT_SCOPES)
    )


def make(
    giver: ApiKey,
    name: str,
    *,
    side: Side,
    is_service: bool,
    asked: Mapping[str, Any],
    origin: Origin = audit.SYSTEM,
) -> IssuedKey:
    """A new key of the giver's member, or a service key. A service key has no member to give one to.

    `asked` are fields of Terms; those that are not in it are as in `terms_like`. Raises BroaderThanGiver, InvalidTerms
    also for an end in the past, and a KeyRefused when the giver has just ended.
    """
    with tenancy.writing(giver.workspace_id) as now:
        member = None if is_service else giver.membership
        still = _locked(giver)[giver.pk]
        terms = dataclasses.replace(terms_like(still), **asked)
        _require_may_hand_out(still, member, side, terms, now)
        if terms.expires_at is not None and terms.expires_at <= now:
            raise InvalidTerms("expires_at", "must lie in the future.")
        return api_keys.issue(giver.workspace, name, side=side, membership=member, terms=terms, origin=origin)


def replace(giver: ApiKey, key: ApiKey, grace: timedelta, origin: Origin = audit.SYSTEM) -> IssuedKey:
    """Rotate the giver itself or a key that it could have made; raises what `make` and `api_keys.rotate` raise."""
    with tenancy.writing(giver.workspace_id) as now:
        rows = _locked(giver, key)
        old = rows[key.pk]
        _require_may_hand_out(rows[giver.pk], old.membership, Side(old.side), key_terms.of(old), now)
        return api_keys.rotate(old, grace, origin)


def _locked(giver: ApiKey, *others: ApiKey) -> dict[uuid.UUID, ApiKey]:
    """These keys as they are now and stay until the transaction ends; raises KeyNotFound.

    Authentication may be a moment old, and two keys may replace each other at once: so one query, one order.
    """
    wanted = {key.pk for key in (giver, *others)}
    rows = seen_by(giver).filter(pk__in=wanted).order_by("pk")
    found = {row.pk: row for row in rows.select_for_update(of=("self",), no_key=True)}
    if found.keys() != wanted:
        raise KeyNotFound
    return found


def _require_may_hand_out(
    giver: ApiKey, member: Membership | None, side: Side, terms: Terms, now: datetime
) -> None:
    api_keys.refuse_ended(giver, now)  # who has ended since leaves no key behind
    if member is not None and member.pk != giver.membership_id:
        raise KeyOfAnotherMember
    if giver.side == Side.TEST and side != Side.TEST:
        raise BroaderThanGiver("side")
    key_terms.require_within(key_terms.of(giver), terms)
