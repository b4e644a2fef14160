"""More clients: bob's key as a member, alice's on the test side."""

from typing import Any

import pytest
from django.test import Client

from accounts import api_keys
from accounts.models import Membership, Workspace

pytest.register_assert_rewrite("tests.gateway.wire")

from tests.gateway import wire  # noqa: E402 - its asserts are rewritten from here on


@pytest.fixture
def bobs_api(workspace: Workspace, bobs_membership: Membership, model: Any) -> Client:
    """HTTP client of bob, a member of alice's workspace."""
    issued = api_keys.issue(workspace, "bob's key", membership=bobs_membership)
    return wire.client(issued.plain_text)


@pytest.fixture
def test_side_api(test_side_key: str, model: Any) -> Client:
    """alice's HTTP client of the test side."""
    return wire.client(test_side_key)
