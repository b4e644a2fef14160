"""GET /api/v1/balance."""

from typing import Any

from django.db.models import Sum
from django.test import Client

from accounts import api_keys, workspaces
from accounts.key_terms import Terms
from accounts.models import Scope, Side, User, Workspace
from accounts.roles import Role
from billing import ledger
from billing.models import Entry, Source
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

    def test_is_the_sum_of_the_ledgers_entries(self, api: Client, workspace: Workspace) -> None:
        wire.finished(api, num_images=3)
        wire.finished(api, "a fail! boat")
        ledger.grant(workspace.pk, 70, Source.PACK, "test:pack")
        wire.generate(api, num_images=2)

        shown = api.get(BALANCE).json()

        entries = Entry.objects.for_workspace(workspace).filter(side=Side.LIVE)
        sums = dict(entries.values_list("account").annotate(Sum("amount_credits")))
        assert (shown["available_credits"], shown["held_credits"]) == (sums["available"], sums["held"])
        assert (shown["available_credits"], shown["held_credits"], sums["revenue"]) == (1_020, 20, 30)

    def test_shows_the_side_of_the_key(self, test_side_api: Client) -> None:
        assert test_side_api.get(BALANCE).json()["available_credits"] == 1_000_000

    def test_is_empty_without_a_grant(self, charlies_api: Client) -> None:
        assert charlies_api.get(BALANCE).json()["available_credits"] == 0

    def test_needs_the_billing_scope(self, workspace: Workspace, model: Any) -> None:
        issued = api_keys.issue(workspace, "images only", terms=Terms(scopes=(Scope.IMAGES,)))

        wire.assert_is_problem(wire.client(issued.plain_text).get(BALANCE), 403, "scope_missing")

    def test_is_hidden_from_a_viewer(self, workspace: Workspace, bob: User, model: Any) -> None:
        viewer = workspaces.add_member(workspace, bob, Role.VIEWER)
        issued = api_keys.issue(workspace, "viewer's", membership=viewer)

        wire.assert_is_problem(wire.client(issued.plain_text).get(BALANCE), 403, "role_forbids")
