"""GET and DELETE /api/v1/key, POST /api/v1/key/rotate: a key about and to itself."""

from datetime import timedelta

import pytest
from django.test import Client

from accounts import api_keys, clock, ids, key_use
from accounts.ids import Prefix
from accounts.key_terms import Terms
from accounts.models import ApiKey, AuditEvent, Membership, Scope, Workspace
from tests.gateway import wire

KEY = "/api/v1/key"


class TestKey:
    def test_tells_about_itself(self, api: Client) -> None:
        shown = api.get(KEY).json()

        assert (shown["name"], shown["side"], shown["workspace"]) == ("alice's key", "live", "Alice's studio")
        assert (shown["is_service_key"], shown["expires_at"]) == (False, None)
        assert shown["scopes"] == ["images", "jobs", "files", "usage", "billing"]

    def test_shows_the_prefix_and_never_the_secret(self, api: Client, key: str) -> None:
        response = api.get(KEY)

        assert response.json()["prefix"] == key[:21]
        assert key[22:] not in response.content.decode()

    def test_needs_no_scope(self, workspace: Workspace) -> None:
        issued = api_keys.issue(workspace, "nothing", terms=Terms(scopes=()))

        assert wire.client(issued.plain_text).get(KEY).json()["scopes"] == []

    def test_tells_a_service_key_and_its_end(self, workspace: Workspace) -> None:
        end = clock.now() + timedelta(days=1)
        issued = api_keys.issue(workspace, "service", terms=Terms(scopes=(Scope.IMAGES,), expires_at=end))

        shown = wire.client(issued.plain_text).get(KEY).json()

        assert shown["is_service_key"] is True
        assert shown["expires_at"].startswith(end.strftime("%Y-%m-%dT%H:%M:%S"))

    def test_tells_its_terms(self, workspace: Workspace) -> None:
        terms = Terms(models=("fake",), networks=("127.0.0.1",), max_pixels=1, requests_per_minute=600)
        issued = api_keys.issue(workspace, "narrow", terms=terms)

        shown = wire.client(issued.plain_text).get(KEY).json()

        assert (shown["models"], shown["networks"]) == (["fake"], ["127.0.0.1/32"])
        assert (shown["max_pixels"], shown["max_steps"], shown["max_images"]) == (1, None, None)
        assert shown["requests_per_minute"] == 600

    def test_tells_whose_it_is(self, api: Client, membership: Membership) -> None:
        shown = api.get(KEY).json()

        assert (shown["member_id"], shown["member_email"]) == (
            ids.public(Prefix.MEMBERSHIP, membership.pk),
            "alice@example.com",
        )

    def test_tells_when_it_was_last_used(self, api: Client) -> None:
        before = clock.now()
        assert api.get(KEY).json()["last_used_at"] is None

        key_use.flush()

        last_used = ApiKey.objects.across_workspaces().get(name="alice's key").last_used_at
        assert last_used is not None
        assert last_used >= before - timedelta(seconds=1)
        assert api.get(KEY).json()["last_used_at"].startswith(last_used.strftime("%Y-%m-%dT%H:%M:%S"))

    def test_counts_no_refused_call_as_use(self, workspace: Workspace) -> None:
        issued = api_keys.issue(workspace, "elsewhere", terms=Terms(networks=("192.0.2.7",)))
        wire.assert_is_problem(wire.client(issued.plain_text).get(KEY), 403, "network_forbidden")

        key_use.flush()

        issued.key.refresh_from_db()
        assert issued.key.last_used_at is None


class TestDelete:
    @pytest.mark.parametrize("scopes", [(), (Scope.IMAGES,)])
    def test_ends_the_key_whatever_it_may_do(self, workspace: Workspace, scopes: tuple[Scope, ...]) -> None:
        issued = api_keys.issue(workspace, "mine", terms=Terms(scopes=scopes))
        client = wire.client(issued.plain_text)

        response = client.delete(KEY)

        assert (response.status_code, response.json()["state"]) == (200, "revoked")
        wire.assert_is_problem(client.get(KEY), 401, "revoked_api_key")

    def test_is_in_the_audit(self, api: Client, workspace: Workspace) -> None:
        shown = api.delete(KEY).json()

        event = AuditEvent.objects.for_workspace(workspace).latest("pk")
        assert (event.action, event.target) == ("api_key:revoked", shown["id"])


class TestRotate:
    def test_needs_neither_scope_nor_role(self, bobs_api: Client) -> None:
        response = wire.post(bobs_api, f"{KEY}/rotate")

        new = response.json()
        assert (response.status_code, new["name"]) == (201, "bob's key")
        assert wire.client(new["key"]).get(KEY).json()["id"] == new["id"]

    def test_shows_each_key_the_other(self, api: Client) -> None:
        new = wire.post(api, f"{KEY}/rotate").json()

        old, shown = api.get(KEY).json(), wire.client(new["key"]).get(KEY).json()

        assert old["replaced_by"] == new["id"]
        assert [one["id"] for one in old["lineage"]] == [new["id"]]
        assert [one["id"] for one in shown["lineage"]] == [old["id"]]
        assert shown["lineage"][0]["expires_at"] == old["expires_at"]

    def test_ends_the_old_key_at_once_without_grace(self, api: Client) -> None:
        wire.post(api, f"{KEY}/rotate", grace_seconds=0)

        wire.assert_is_problem(api.get(KEY), 401, "expired_api_key")

    def test_is_done_once(self, api: Client) -> None:
        wire.post(api, f"{KEY}/rotate")

        wire.assert_is_problem(wire.post(api, f"{KEY}/rotate"), 409, "key_not_rotatable")
