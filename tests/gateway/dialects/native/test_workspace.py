"""/api/v1/workspace: settings, closing, reopening and the export."""

import json
from datetime import datetime
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.test import Client

from accounts import api_keys, audit, clock, ids, workspaces
from accounts.key_terms import Terms
from accounts.models import ApiKey, AuditEvent, Membership, Scope, User, Workspace
from accounts.roles import Role
from gateway import workspace_export
from gateway.workspace_export import PARTS
from tests.gateway import wire

WORKSPACE = "/api/v1/workspace"
CLOSE, REOPEN, EXPORT = (f"{WORKSPACE}/{verb}" for verb in ("close", "reopen", "export"))
EVERYTHING = Terms(scopes=tuple(Scope))


def client(workspace: Workspace, membership: Membership | None = None) -> Client:
    issued = api_keys.issue(workspace, "with every scope", membership=membership, terms=EVERYTHING)
    return wire.client(issued.plain_text)


@pytest.fixture
def owner(workspace: Workspace, membership: Membership, model: Any) -> Client:
    """alice's HTTP client with every scope."""
    return client(workspace, membership)


@pytest.fixture
def admin(workspace: Workspace, bob: User, model: Any) -> Client:
    """bob's HTTP client with every scope, and bob is an admin."""
    return client(workspace, workspaces.add_member(workspace, bob, Role.ADMIN))


@pytest.fixture
def member(workspace: Workspace, bobs_membership: Membership, model: Any) -> Client:
    return client(workspace, bobs_membership)


def patch(api: Client, **body: Any) -> Any:
    return api.patch(WORKSPACE, body, content_type="application/json")


def events(workspace: Workspace, action: audit.Event) -> list[AuditEvent]:
    return list(AuditEvent.objects.for_workspace(workspace).filter(action=action))


class TestGet:
    def test_shows_the_workspace(self, owner: Client, workspace: Workspace) -> None:
        shown = owner.get(WORKSPACE).json()

        assert datetime.fromisoformat(shown.pop("created_at")).tzinfo is not None
        assert shown == {
            "id": ids.public(ids.Prefix.WORKSPACE, workspace.pk),
            "name": "Alice's studio",
            "time_zone": "UTC",
            "closing_at": None,
        }

    def test_needs_the_admin_scope(self, api: Client) -> None:
        response = api.get(WORKSPACE)

        wire.assert_is_problem(response, 403, "scope_missing")
        assert response.json()["scope"] == "admin"
        assert "lacks the scope admin, which" in response.json()["detail"]


class TestPatch:
    def test_changes_name_and_time_zone(self, admin: Client, workspace: Workspace) -> None:
        changed = patch(admin, name=" Atelier Alice ", time_zone="Europe/Berlin").json()

        assert (changed["name"], changed["time_zone"]) == ("Atelier Alice", "Europe/Berlin")
        workspace.refresh_from_db()
        assert (workspace.name, workspace.time_zone) == ("Atelier Alice", "Europe/Berlin")

    @pytest.mark.parametrize("body", [{}, {"name": None}])
    def test_leaves_what_is_absent(self, owner: Client, body: dict[str, Any]) -> None:
        before = owner.get(WORKSPACE).json()

        assert patch(owner, **body).json() == before

    def test_shows_the_new_name_to_the_key(self, owner: Client) -> None:
        patch(owner, name="Atelier Alice")

        assert owner.get("/api/v1/key").json()["workspace"] == "Atelier Alice"

    @pytest.mark.parametrize(
        "body",
        [
            {"name": ""},
            {"name": "   "},
            {"name": "x" * 81},
            {"name": 7},
            {"name": "a\x00b"},
            {"name": "a\u202eb"},
            {"id": "ws_1"},
            {"closing_at": 1},
        ],
    )
    def test_refuses_what_is_no_name(self, owner: Client, workspace: Workspace, body: Any) -> None:
        wire.assert_is_problem(patch(owner, **body), 422, "invalid_request")
        workspace.refresh_from_db()
        assert workspace.name == "Alice's studio"

    @pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", "europe/berlin", "EST5EDT"])
    def test_refuses_a_zone_that_is_none_and_changes_nothing(
        self, owner: Client, workspace: Workspace, zone: str
    ) -> None:
        response = patch(owner, name="New", time_zone=zone)

        wire.assert_is_problem(response, 422, "invalid_request")
        (error,) = response.json()["errors"]
        assert error["field"] == "time_zone"
        assert "Take a name with a region, such as Europe/Berlin, or UTC." in error["message"]
        workspace.refresh_from_db()
        assert (workspace.name, workspace.time_zone) == ("Alice's studio", "UTC")

    def test_repeats_no_key_that_was_pasted_as_a_zone(self, owner: Client, key: str) -> None:
        response = patch(owner, time_zone=key)

        assert response.status_code == 422
        assert key[22:] not in response.content.decode()

    def test_says_when_the_zone_may_be_changed_again(self, owner: Client) -> None:
        patch(owner, time_zone="Asia/Tokyo")

        response = patch(owner, time_zone="Europe/Berlin")

        wire.assert_is_problem(response, 409, "time_zone_change_pending")

    def test_is_not_for_a_member(self, member: Client) -> None:
        wire.assert_is_problem(patch(member, name="Bob's"), 403, "role_forbids")


class TestClose:
    def test_tells_the_date(self, owner: Client, workspace: Workspace) -> None:
        before = clock.now()

        closed = wire.post(owner, CLOSE).json()

        closing_at = datetime.fromisoformat(closed["closing_at"])
        assert before + workspaces.GRACE <= closing_at <= clock.now() + workspaces.GRACE
        (event,) = events(workspace, audit.Event.WORKSPACE_CLOSED)
        assert event.actor.startswith("key:atl_live_")

    def test_may_be_done_twice(self, owner: Client) -> None:
        assert wire.post(owner, CLOSE).json() == wire.post(owner, CLOSE).json()

    @pytest.mark.parametrize("path", [CLOSE, REOPEN])
    def test_is_only_for_the_owner(self, admin: Client, workspace: Workspace, path: str, model: Any) -> None:
        wire.assert_is_problem(admin.post(path), 403, "role_forbids")
        wire.assert_is_problem(client(workspace).post(path), 403, "role_forbids")  # a service key
        workspace.refresh_from_db()
        assert workspace.closing_at is None

    def test_refuses_new_jobs_until_it_is_reopened(self, owner: Client, workspace: Workspace) -> None:
        closing_at = wire.post(owner, CLOSE).json()["closing_at"]

        refused = wire.post(owner, prompt="a boat")

        wire.assert_is_problem(refused, 403, "workspace_closing")
        assert "accepts no jobs" in refused.json()["detail"]
        assert datetime.fromisoformat(refused.json()["closing_at"]) == datetime.fromisoformat(closing_at)
        wire.assert_nothing_was_charged(workspace)
        wire.post(owner, REOPEN)
        wire.generate(owner)

    def test_leaves_making_keys_as_it_was(self, owner: Client) -> None:
        wire.post(owner, CLOSE)

        made = wire.post(owner, "/api/v1/keys", name="to export with")

        assert made.status_code == 201
        assert wire.post(wire.client(made.json()["key"]), "/api/v1/key/rotate").status_code == 201

    def test_leaves_reading_as_it_was(self, owner: Client) -> None:
        job = wire.finished(owner)
        wire.post(owner, CLOSE)

        assert owner.get(f"/api/v1/jobs/{job['id']}").status_code == 200
        assert owner.get("/api/v1/balance").status_code == 200

    @pytest.mark.parametrize("path", [CLOSE, REOPEN])
    @pytest.mark.parametrize("body, status", [(b'{"at": "2099-01-01"}', 422), (b"[]", 400), (b"x", 400)])
    def test_takes_no_body(
        self, owner: Client, workspace: Workspace, path: str, body: bytes, status: int
    ) -> None:
        assert owner.post(path, body, content_type="application/json").status_code == status

        workspace.refresh_from_db()
        assert workspace.closing_at is None
        assert owner.post(path, b"", content_type="application/json").status_code == 200


class TestReopen:
    def test_takes_the_closing_back(self, owner: Client) -> None:
        wire.post(owner, CLOSE)

        assert wire.post(owner, REOPEN).json()["closing_at"] is None

    def test_comes_too_late_on_the_date(self, owner: Client, workspace: Workspace) -> None:
        workspaces.close(workspace.pk, clock.now() - workspaces.GRACE)

        wire.assert_is_problem(wire.post(owner, REOPEN), 409, "deletion_began")


def exported(api: Client) -> list[dict[str, Any]]:
    """The lines of a whole export."""
    response = api.get(EXPORT)
    assert response.status_code == 200, response.content
    return [json.loads(line) for line in content_of(response).splitlines()]


def content_of(response: Any) -> bytes:
    async def collect() -> bytes:
        return b"".join([piece async for piece in response.streaming_content])

    return async_to_sync(collect)()


def rows(lines: list[dict[str, Any]], part: str) -> list[dict[str, Any]]:
    return [line["row"] for line in lines if line["part"] == part]


class TestExport:
    def test_names_the_workspace_first_and_ends_with_the_numbers(
        self, owner: Client, workspace: Workspace
    ) -> None:
        lines = exported(owner)

        about = {"format": 1, "workspace": ids.public(ids.Prefix.WORKSPACE, workspace.pk)}
        assert lines[0] == {"part": "export", "row": about}
        assert lines[-1]["part"] == "end"
        assert lines[-1]["row"] == {part.name: len(rows(lines, part.name)) for part in PARTS}

    def test_shows_jobs_with_their_words_and_addresses_that_open(self, owner: Client, client: Client) -> None:
        job = wire.finished(owner, "a red boat", negative_prompt="fog")

        lines = exported(owner)

        (shown,) = rows(lines, "jobs")
        assert (shown["id"], shown["prompt"], shown["negative_prompt"]) == (job["id"], "a red boat", "fog")
        (image,) = rows(lines, "images")
        assert (image["id"], image["job_id"]) == (job["images"][0]["id"], job["id"])
        assert client.get(image["url"]).status_code == 200

    def test_gives_no_address_of_a_deleted_picture(self, owner: Client) -> None:
        job = wire.finished(owner)
        owner.delete(f"/api/v1/images/{job['images'][0]['id']}")

        (image,) = rows(exported(owner), "images")

        assert (image["url"], image["deleted_at"] is None) == (None, False)

    def test_is_a_file_of_json_lines(self, owner: Client, workspace: Workspace) -> None:
        response = owner.get(EXPORT)

        name = f"{ids.public(ids.Prefix.WORKSPACE, workspace.pk)}.jsonl"
        assert response["Content-Type"] == "application/x-ndjson"
        assert response["Content-Disposition"] == f'attachment; filename="{name}"'
        assert response["Cache-Control"] == "no-store"
        assert response["X-Request-Id"].startswith("req_")
        assert content_of(response)

    def test_is_written_down_with_who_asked(self, admin: Client, workspace: Workspace) -> None:
        exported(admin)

        (event,) = events(workspace, audit.Event.WORKSPACE_EXPORTED)
        assert (event.actor.partition(":")[0], event.data) == ("key", {"form": "ndjson"})

    def test_goes_on_while_the_workspace_closes(self, owner: Client) -> None:
        wire.post(owner, CLOSE)

        assert exported(owner)[-1]["part"] == "end"

    def test_shows_nothing_of_others(self, owner: Client, charlies_workspace: Workspace) -> None:
        lines = json.dumps(exported(owner))

        assert str(charlies_workspace.pk) not in lines
        assert "charlie" not in lines.lower()

    def test_is_not_for_a_member(self, member: Client, workspace: Workspace) -> None:
        wire.assert_is_problem(member.get(EXPORT), 403, "role_forbids")
        assert events(workspace, audit.Event.WORKSPACE_EXPORTED) == []

    def test_is_not_begun_by_a_head(self, owner: Client, workspace: Workspace) -> None:
        assert owner.head(EXPORT).status_code == 405
        assert events(workspace, audit.Event.WORKSPACE_EXPORTED) == []

    def test_needs_the_admin_scope(self, api: Client) -> None:
        wire.assert_is_problem(api.get(EXPORT), 403, "scope_missing")

    def test_needs_a_key(self, client: Client, workspace: Workspace) -> None:
        wire.assert_is_problem(client.get(EXPORT), 401, "missing_api_key")

    def test_reads_every_chunk_of_a_long_table(
        self, owner: Client, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(workspace_export, "CHUNK", 2)
        made = [wire.generate(owner)["id"] for _ in range(4)]

        lines = exported(owner)

        assert [row["id"] for row in rows(lines, "jobs")] == made

    def test_breaks_off_when_the_key_is_revoked(self, owner: Client, workspace: Workspace) -> None:
        pieces, now = owner.get(EXPORT).streaming_content, clock.now()

        async def read() -> None:
            assert b'"export"' in await anext(pieces)
            assert b'"workspace"' in await anext(pieces)
            await sync_to_async(ApiKey.objects.for_workspace(workspace).update)(revoked_at=now)
            with pytest.raises(api_keys.RevokedKey):
                await anext(pieces)

        async_to_sync(read)()
