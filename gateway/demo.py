"""The demo workspace of the quickstart: an owner with a password, a key, credits.

The plain key and password are kept in the data folder, readable by its owner only, so that a second run can show
them again. This is for a machine of one's own; the quickstart refuses to run in production.
"""

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from django.db import transaction

from accounts import api_keys, clock, workspaces
from accounts.models import Membership, User
from billing import ledger
from billing.models import Source
from gateway import onboarding

EMAIL = "demo@example.com"
CREDITS = 100_000


@dataclass(frozen=True)
class Demo:
    email: str
    password: str
    api_key: str


def ensure(data_dir: Path) -> Demo:
    """The demo of this data folder: read when it is there, made when it is not. Safe to kill at any point."""
    path = data_dir / "demo.json"
    with transaction.atomic():
        owner = User.objects.filter(email=EMAIL).first() or User.objects.create_user(EMAIL)
        if not workspaces.memberships_of(owner):
            onboarding.open_workspace("Demo", owner)
        membership = workspaces.memberships_of(owner)[0]
        ledger.grant(membership.workspace_id, CREDITS, Source.PROMOTIONAL, "quickstart:credits")
        if (stored := _stored(path)) and _opens(stored, owner):
            return stored
        demo = _renew(owner, membership)
    _write(path, demo)
    return demo


def _stored(path: Path) -> Demo | None:
    return Demo(**json.loads(path.read_text())) if path.exists() else None


def _opens(stored: Demo, owner: User) -> bool:
    """Whether this database still knows the stored password and key; it may be another one than last time."""
    try:
        api_keys.authenticate(stored.api_key, clock.now())
    except api_keys.KeyRefused:
        return False
    return owner.check_password(stored.password)


def _renew(owner: User, membership: Membership) -> Demo:
    """A new password and a new key; the old ones were never shown, or their file was deleted."""
    password = secrets.token_urlsafe(12)
    owner.set_password(password)
    owner.save(update_fields=["password"])
    issued = api_keys.issue(membership.workspace, "Quickstart", membership=membership)
    return Demo(EMAIL, password, issued.plain_text)


def _write(path: Path, demo: Demo) -> None:
    unfinished = path.with_suffix(".new")
    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump(asdict(demo), file)
    unfinished.replace(path)
