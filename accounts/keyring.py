"""A secret per workspace: prompts are hashed and encrypted under it, so no other tenant's data helps a guesser.

The secret is 32 random bytes, stored wrapped by one of ATELIER_KEYRING_SECRETS (Fernet: AES-128-CBC with
HMAC-SHA-256), which rotate by id. From it come two subkeys by HMAC: one for hashing, one for encrypting.
"""

import base64
import hashlib
import hmac
import secrets
import uuid
from dataclasses import dataclass, field
from enum import StrEnum

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings

from accounts import tenancy
from accounts.lookups import Lookup, Topic
from accounts.models import WorkspaceKeyring


@dataclass(frozen=True)
class KeyedHash:
    """HMAC-SHA-256 in hex, and which key made it."""

    digest: str
    key_id: str


class ContentUnreadable(Exception):
    """Encrypted content does not open: the workspace's key was destroyed or the application's was changed."""


def _derive(secret: bytes, purpose: str) -> bytes:
    return hmac.digest(secret, purpose.encode(), hashlib.sha256)


def _fernet(secret: bytes, purpose: str) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(_derive(secret, purpose)))


def _wrapper(wrapper_id: str) -> Fernet:
    return _fernet(settings.KEYRING_SECRETS[wrapper_id].encode(), "wrap workspace keyring")


def create(workspace_id: uuid.UUID) -> None:
    """Give a new workspace its secret."""
    wrapper_id = next(iter(settings.KEYRING_SECRETS))
    WorkspaceKeyring.objects.create(
        workspace_id=workspace_id,
        key_id=secrets.token_hex(6),
        wrapper_id=wrapper_id,
        wrapped_secret=_wrapper(wrapper_id).encrypt(secrets.token_bytes(32)),
    )


def destroy(workspace_id: uuid.UUID) -> bool:
    """Make everything unreadable that was encrypted for the workspace, backups included; False if it was already."""
    return bool(WorkspaceKeyring.objects.filter(workspace_id=workspace_id).delete()[0])


class Purpose(StrEnum):
    """Equal texts hashed for different purposes have unrelated digests."""

    PROMPT = "prompt hash"
    END_USER = "end user hash"
    FINGERPRINT = "request fingerprint"


@dataclass(frozen=True)
class Keyring:
    """A workspace's opened secret. Kept in the process by `of` until the row changes or is destroyed."""

    key_id: str
    secret: bytes = field(repr=False)

    def hash(self, text: str, purpose: Purpose = Purpose.PROMPT) -> KeyedHash:
        """The only trace of a prompt in logs and audit; equal texts of one workspace have equal hashes."""
        return KeyedHash(
            hmac.digest(_derive(self.secret, purpose), text.encode(), hashlib.sha256).hex(), self.key_id
        )

    def end_user(self, text: str) -> str:
        """The only trace of a caller's end user; empty for none."""
        return self.hash(text, Purpose.END_USER).digest if text else ""

    def encrypt(self, content: bytes) -> bytes:
        return _fernet(self.secret, "content").encrypt(content)

    def decrypt(self, token: bytes) -> bytes:
        """Raises ContentUnreadable when another key encrypted."""
        try:
            return _fernet(self.secret, "content").decrypt(token)
        except InvalidToken:
            raise ContentUnreadable("Stored content does not open under the workspace's key.") from None


def of(workspace_id: uuid.UUID) -> Keyring:
    """Open a workspace's keyring; raises ContentUnreadable when it was destroyed or cannot be unwrapped."""
    return _kept(workspace_id)


def _load(workspace_id: uuid.UUID) -> Keyring:
    with tenancy.reading(workspace_id):
        row = WorkspaceKeyring.objects.filter(workspace_id=workspace_id).first()
    if row is None:
        raise ContentUnreadable("The workspace's keyring was destroyed.")
    try:
        return Keyring(row.key_id, _wrapper(row.wrapper_id).decrypt(bytes(row.wrapped_secret)))
    except (InvalidToken, KeyError):
        raise ContentUnreadable(
            "The workspace's keyring opens with none of ATELIER_KEYRING_SECRETS."
        ) from None


_kept = Lookup(Topic.LIMITS, _load)
