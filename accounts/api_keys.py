"""API keys: issue, authenticate, revoke.

A key reads `atl_<side>_<id><underscore><secret><crc>`: id of 12 and secret of 32 base62 characters (190 random
bits), then the CRC-32 of all before it as 6 base62 characters, so that a typo or a key found in a text is
recognised without a database. Stored is only HMAC-SHA-256 of the whole key under a pepper that is not in the
database; peppers rotate by id.
"""

import hashlib
import hmac
import re
import secrets
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from django.conf import settings
from django.db import transaction

from accounts import audit, ids
from accounts.audit import Origin
from accounts.models import ApiKey, Membership, Scope, Side, Workspace

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID_LENGTH, SECRET_LENGTH, CHECKSUM_LENGTH = 12, 32, 6
SHAPE = re.compile(
    rf"(?P<body>atl_(?P<side>live|test)_(?P<key_id>[0-9A-Za-z]{{{ID_LENGTH}}})_[0-9A-Za-z]{{{SECRET_LENGTH}}})(?P<crc>[0-9A-Za-z]{{{CHECKSUM_LENGTH}}})"
)
DEFAULT_SCOPES = tuple(scope for scope in Scope if scope != Scope.ADMIN)


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


@dataclass(frozen=True)
class IssuedKey:
    """A new key with its plain text, which exists only in this value."""

    key: ApiKey
    plain_text: str = field(repr=False)


def _base62(number: int, length: int) -> str:
    letters = ""
    for _ in range(length):
        number, rest = divmod(number, 62)
        letters = BASE62[rest] + letters
    return letters


def checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), CHECKSUM_LENGTH)


def _random(length: int) -> str:
    return "".join(secrets.choice(BASE62) for _ in range(length))


def _digest(plain_text: str, pepper_id: str) -> str:
    pepper = settings.KEY_PEPPERS[pepper_id]
    return hmac.digest(pepper.encode(), plain_text.encode(), hashlib.sha256).hex()


def issue(
    workspace: Workspace,
    name: str,
    *,
    side: Side = Side.LIVE,
    membership: Membership | None = None,
    scopes: Iterable[Scope] = DEFAULT_SCOPES,
    expires_at: datetime | None = None,
    origin: Origin = audit.SYSTEM,
) -> IssuedKey:
    """Make a key of a member, or a service key without one. The plain text cannot be had again."""
    if membership is not None and membership.workspace_id != workspace.pk:
        raise ValueError("The member belongs to another workspace.")
    key_id = _random(ID_LENGTH)
    body = f"atl_{side}_{key_id}_{_random(SECRET_LENGTH)}"
    plain_text = body + checksum(body)
    pepper_id = next(iter(settings.KEY_PEPPERS))
    with transaction.atomic():
        key = ApiKey.objects.create(
            workspace=workspace,
            key_id=key_id,
            digest=_digest(plain_text, pepper_id),
            pepper_id=pepper_id,
            side=side,
            name=name,
            membership=membership,
            scopes=[str(scope) for scope in scopes],
            expires_at=expires_at,
        )
        audit.record(
            audit.Event.KEY_ISSUED,
            workspace.pk,
            public_id(key),
            origin,
            name=name,
            side=side,
            scopes=key.scopes,
        )
    return IssuedKey(key, plain_text)


def authenticate(presented: str, now: datetime) -> ApiKey:
    """The key behind a presented text; raises a KeyRefused that says why not."""
    match = SHAPE.fullmatch(presented)
    if match is None or checksum(match["body"]) != match["crc"]:
        raise MalformedKey
    rows = ApiKey.objects.across_workspaces().select_related("workspace", "membership__user")
    key = rows.filter(key_id=match["key_id"]).first()
    if key is None or key.pepper_id not in settings.KEY_PEPPERS:
        raise UnknownKey
    if not hmac.compare_digest(key.digest, _digest(presented, key.pepper_id)):
        raise UnknownKey
    _refuse_ended(key, now)
    return key


def _refuse_ended(key: ApiKey, now: datetime) -> None:
    if key.revoked_at is not None or (key.membership is not None and not _is_active(key.membership)):
        raise RevokedKey
    if key.expires_at is not None and key.expires_at <= now:
        raise ExpiredKey
    if key.workspace.suspended_at is not None:
        raise WorkspaceSuspended


def _is_active(membership: Membership) -> bool:
    return membership.removed_at is None and membership.user.is_active


def revoke(key: ApiKey, now: datetime, origin: Origin = audit.SYSTEM) -> None:
    """End a key now; a second call changes nothing."""
    with transaction.atomic():
        mine = ApiKey.objects.for_workspace(key.workspace_id).filter(pk=key.pk, revoked_at__isnull=True)
        if mine.update(revoked_at=now):
            audit.record(audit.Event.KEY_REVOKED, key.workspace_id, public_id(key), origin)
    key.refresh_from_db()


def public_id(key: ApiKey) -> str:
    return ids.public(ids.Prefix.KEY, key.pk)
