"""The cast, and the fakes that ship with the product in place of the slow parts.

alice owns the workspace, bob is a member of it, charlie is a stranger with a workspace of his own.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.core.cache import caches
from django.test import Client

from accounts import api_keys, workspaces
from accounts.models import Membership, Side, User, Workspace
from accounts.roles import Role
from billing import ledger
from billing.models import Source
from gateway import onboarding
from inference import dispatch, engine
from tests import factories

# An example that takes long on a busy machine is no fault of the code.
hypothesis.settings.register_profile("busy machine", deadline=None)
hypothesis.settings.load_profile("busy machine")


@pytest.fixture(autouse=True)
def _shipped_fakes(settings: Any, tmp_path: Path) -> Iterator[None]:
    """The fake model by default, pictures in a temporary folder, views in the test's own thread."""
    settings.DEFAULT_MODEL = factories.MODEL
    settings.ACCEPT_THREADS = 0
    settings.LOOKUP_SECONDS = settings.KEY_USE_SECONDS = 0
    settings.REDIS_URL = ""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.STORAGES = {
        **settings.STORAGES,
        "images": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(tmp_path / "images")},
        },
    }
    dispatch.get.cache_clear()
    caches["guards"].clear()
    yield
    engine.close_all()


@pytest.fixture
def alice(db: None) -> User:
    return factories.user("alice@example.com")


@pytest.fixture
def bob(db: None) -> User:
    return factories.user("bob@example.com")


@pytest.fixture
def charlie(db: None) -> User:
    return factories.user("charlie@example.com")


@pytest.fixture
def workspace(alice: User) -> Workspace:
    """alice's, with 1,000 credits."""
    mine = onboarding.open_workspace("Alice's studio", alice)
    ledger.grant(mine.pk, 1_000, Source.PROMOTIONAL, "test:credits")
    return mine


@pytest.fixture
def membership(workspace: Workspace, alice: User) -> Membership:
    return workspaces.memberships_of(alice)[0]


@pytest.fixture
def bobs_membership(workspace: Workspace, bob: User) -> Membership:
    return workspaces.add_member(workspace, bob, Role.MEMBER)


@pytest.fixture
def charlies_workspace(charlie: User) -> Workspace:
    return onboarding.open_workspace("Charlie's studio", charlie)


@pytest.fixture
def key(workspace: Workspace, membership: Membership) -> str:
    """alice's key in plain text."""
    return api_keys.issue(workspace, "alice's key", membership=membership).plain_text


@pytest.fixture
def test_side_key(workspace: Workspace, membership: Membership) -> str:
    return api_keys.issue(workspace, "alice's test key", side=Side.TEST, membership=membership).plain_text


@pytest.fixture
def model(db: None) -> Any:
    """The fake model at 10 credits an image."""
    return factories.fake_model()


@pytest.fixture
def api(key: str, model: Any) -> Client:
    """alice's HTTP client."""
    return Client(headers={"Authorization": f"Bearer {key}"})


@pytest.fixture
def charlies_api(charlies_workspace: Workspace, model: Any) -> Client:
    issued = api_keys.issue(charlies_workspace, "charlie's key")
    return Client(headers={"Authorization": f"Bearer {issued.plain_text}"})
