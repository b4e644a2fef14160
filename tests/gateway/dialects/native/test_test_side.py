"""What a key of the test side may not touch, whatever its scopes: the workspace as a whole."""

from typing import Any

import pytest
from django.test import Client

from accounts import api_keys
from accounts.key_terms import Terms
from accounts.models import Membership, Scope, Side, Workspace
from tests.gateway import wire

QUOTA = {"subject": "workspace", "unit": "images", "window": "day", "limit": 1}
CALLS: list[tuple[str, str, dict[str, Any] | None]] = [
    ("post", "workspace/close", None),
    ("post", "workspace/reopen", None),
    ("patch", "workspace", {"name": "Mine"}),
    ("get", "workspace/export", None),
    ("put", "quotas", QUOTA),
    ("delete", "quotas/quo_00000000000000000000000000", None),
]


@pytest.fixture
def test_side(workspace: Workspace, membership: Membership, model: Any) -> Client:
    """The owner's key of the test side, with every scope."""
    terms = Terms(scopes=tuple(Scope))
    issued = api_keys.issue(workspace, "test", side=Side.TEST, membership=membership, terms=terms)
    return wire.client(issued.plain_text)


class TestTestKey:
    @pytest.mark.parametrize("method, path, body", CALLS)
    def test_changes_nothing_of_the_whole_workspace(
        self, test_side: Client, method: str, path: str, body: dict[str, Any] | None
    ) -> None:
        response = getattr(test_side, method)(f"/api/v1/{path}", body, content_type="application/json")

        wire.assert_is_problem(response, 403, "live_key_needed")

    @pytest.mark.parametrize("path", ["workspace", "quotas", "usage", "keys", "balance"])
    def test_may_look(self, test_side: Client, path: str) -> None:
        assert test_side.get(f"/api/v1/{path}").status_code == 200
