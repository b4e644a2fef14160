"""GET /api/v1/key."""

from datetime import timedelta

from django.test import Client

from accounts import api_keys, clock
from accounts.models import Scope, Workspace
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
        issued = api_keys.issue(workspace, "nothing", scopes=[])

        assert wire.client(issued.plain_text).get(KEY).json()["scopes"] == []

    def test_tells_a_service_key_and_its_end(self, workspace: Workspace) -> None:
        end = clock.now() + timedelta(days=1)
        issued = api_keys.issue(workspace, "service", scopes=[Scope.IMAGES], expires_at=end)

        shown = wire.client(issued.plain_text).get(KEY).json()

        assert shown["is_service_key"] is True
        assert shown["expires_at"].startswith(end.strftime("%Y-%m-%dT%H:%M:%S"))
