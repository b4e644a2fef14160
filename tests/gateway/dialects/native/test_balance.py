"""GET /api/v1/balance."""

from typing import Any

from django.test import Client

from accounts import api_keys, workspaces
from accounts.models import Scope, User, Workspace
from accounts.roles import Role
from tests.gateway import wire

BALANCE = "/api/v1/balance"


class TestBalance:
    def test_shows_what_can_be_spent(self, api: Client) -> None:
        assert api.get(BALANCE).json() == {
            "available_credits": 1_000,
            "held_credits": 0,
            "debt_credits": 0,
            "unfinished_jobs": 0,
        }

    def test_shows_what_unfinished_jobs_hold(self, api: Client) -> None:
        wire.generate(api, num_images=2)

        shown = api.get(BALANCE).json()

        assert (shown["available_credits"], shown["held_credits"], shown["unfinished_jobs"]) == (980, 20, 1)

    def test_shows_the_side_of_the_key(self, test_side_api: Client) -> None:
        assert test_side_api.get(BALANCE).json()["available_credits"] == 1_000_000

    def test_is_empty_without_a_grant(self, charlies_api: Client) -> None:
        assert charlies_api.get(BALANCE).json()["available_credits"] == 0

    def test_needs_the_billing_scope(self, workspace: Workspace, model: Any) -> None:
        issued = api_keys.issue(workspace, "images only", scopes=[Scope.IMAGES])

        wire.assert_is_problem(wire.client(issued.plain_text).get(BALANCE), 403, "scope_missing")

    def test_is_hidden_from_a_viewer(self, workspace: Workspace, bob: User, model: Any) -> None:
        viewer = workspaces.add_member(workspace, bob, Role.VIEWER)
        issued = api_keys.issue(workspace, "viewer's", membership=viewer)

        wire.assert_is_problem(wire.client(issued.plain_text).get(BALANCE), 403, "role_forbids")
