"""/api/v1/quotas: reading, setting, removing and trying limits."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from accounts import api_keys, ids, keyring, workspaces
from accounts import quotas as limits
from accounts.key_terms import Terms
from accounts.models import AuditEvent, Membership, Scope, Side, User, Workspace
from accounts.periods import EPOCH
from accounts.roles import Role
from billing.models import UsageRecord
from inference import jobs
from inference.requests import Delivery
from tests import factories
from tests.gateway import wire

QUOTAS = "/api/v1/quotas"
TRIAL = "/api/v1/quotas/trial"
EVERYTHING = Terms(scopes=tuple(Scope))
MONTHLY = {"subject": "workspace", "unit": "images", "window": "month", "limit": 100}


@pytest.fixture
def admin(workspace: Workspace, membership: Membership, model: Any) -> Client:
    """alice's HTTP client with every scope."""
    issued = api_keys.issue(workspace, "admin's", membership=membership, terms=EVERYTHING)
    return wire.client(issued.plain_text)


def client(workspace: Workspace, **options: Any) -> Client:
    return wire.client(api_keys.issue(workspace, "another", **{"terms": EVERYTHING, **options}).plain_text)


def put(api: Client, **body: Any) -> Any:
    return api.put(QUOTAS, {**MONTHLY, **body}, content_type="application/json")


def listed(api: Client) -> list[dict[str, Any]]:
    response = api.get(QUOTAS)
    assert response.status_code == 200, response.content
    data: list[dict[str, Any]] = response.json()["data"]
    return data


def member_id(membership: Membership) -> str:
    return ids.public(ids.Prefix.MEMBERSHIP, membership.pk)


def fields_of(response: Any) -> list[str]:
    """The fields that a refusal names."""
    wire.assert_is_problem(response, 422, "invalid_request")
    return [error["field"] for error in response.json()["errors"]]


class TestPut:
    def test_answers_with_the_quota(self, admin: Client) -> None:
        response = put(admin, is_hard=False, anchor_day=15)

        assert response.status_code == 200
        shown = response.json()
        assert shown.pop("id").startswith("quo_")
        assert datetime.fromisoformat(shown.pop("resets_at")).day == 15
        assert shown == {
            "subject": "workspace",
            "subject_id": "",
            "unit": "images",
            "window": "month",
            "limit": 100,
            "is_hard": False,
            "anchor_day": 15,
            "used": 0,
            "left": 100,
        }

    def test_is_hard_by_default(self, admin: Client) -> None:
        assert put(admin).json()["is_hard"] is True

    def test_replaces(self, admin: Client) -> None:
        first, second = put(admin, limit=1).json(), put(admin, limit=2).json()

        assert first["id"] == second["id"]
        assert [quota["limit"] for quota in listed(admin)] == [2]

    def test_counts_what_was_used_before(self, admin: Client) -> None:
        wire.finished(admin, num_images=3)

        shown = put(admin, limit=10).json()

        assert (shown["used"], shown["left"]) == (3, 7)

    def test_tells_a_total_that_is_exceeded(self, admin: Client) -> None:
        wire.finished(admin, num_images=3)

        shown = put(admin, window="total", limit=2).json()

        assert (shown["used"], shown["left"], shown["resets_at"]) == (3, 0, None)

    def test_takes_a_member(self, admin: Client, bobs_membership: Membership) -> None:
        shown = put(admin, subject="member", subject_id=member_id(bobs_membership)).json()

        assert (shown["subject"], shown["subject_id"]) == ("member", member_id(bobs_membership))

    def test_takes_a_key_and_names_its_latest(self, admin: Client, workspace: Workspace) -> None:
        first = api_keys.issue(workspace, "first").key
        second = api_keys.rotate(first, timedelta(hours=1)).key

        shown = put(admin, subject="key", subject_id=api_keys.public_id(first)).json()

        assert shown["subject_id"] == api_keys.public_id(second)

    def test_takes_an_end_user_and_keeps_the_hash_alone(self, admin: Client, workspace: Workspace) -> None:
        response = put(admin, subject="end_user", subject_id="customer-7")

        digest = keyring.of(workspace.pk).hash("customer-7", keyring.Purpose.END_USER).digest
        assert response.json()["subject_id"] == digest
        assert "customer-7" not in str(list(AuditEvent.objects.for_workspace(workspace).values()))

    def test_limits_the_end_users_jobs(self, admin: Client) -> None:
        put(admin, subject="end_user", subject_id="customer-7", limit=1)
        wire.generate(admin, user="customer-7")

        assert wire.post(admin, prompt="one more", user="customer-7").status_code == 429
        assert wire.post(admin, prompt="another's", user="customer-8").status_code == 202

    @pytest.mark.parametrize("subject", ["member", "key", "end_user"])
    def test_for_each_one_shows_no_use(self, admin: Client, subject: str) -> None:
        shown = put(admin, subject=subject).json()

        assert (shown["subject_id"], shown["used"], shown["left"]) == ("", None, None)

    def test_is_recorded_with_the_key_that_set_it(self, admin: Client, workspace: Workspace) -> None:
        shown = put(admin).json()

        event = AuditEvent.objects.for_workspace(workspace).latest("pk")
        assert (event.action, event.target) == ("quota:set", shown["id"])
        assert event.actor.startswith("key:atl_live_")
        assert event.request_id.startswith("req_")


class TestWrongBody:
    @pytest.mark.parametrize(
        "body, field",
        [
            ({"subject": "team"}, "subject"),
            ({"subject": None}, "subject"),
            ({"subject": ["member"]}, "subject"),
            ({"unit": "pixels"}, "unit"),
            ({"unit": None}, "unit"),
            ({"window": "week"}, "window"),
            ({"window": None}, "window"),
            ({"limit": None}, "limit"),
            ({"limit": -1}, "limit"),
            ({"limit": 1.5}, "limit"),
            ({"limit": "100"}, "limit"),
            ({"limit": True}, "limit"),
            ({"limit": 2**53 + 1}, "limit"),
            ({"limit": 10**30}, "limit"),
            ({"is_hard": "yes"}, "is_hard"),
            ({"anchor_day": 0}, "anchor_day"),
            ({"anchor_day": 32}, "anchor_day"),
            ({"window": "day", "anchor_day": 2}, "anchor_day"),
            ({"subject_id": "ws_1"}, "subject_id"),
            ({"subject": "member", "subject_id": 7}, "subject_id"),
            ({"subject": "member", "subject_id": "mem_1"}, "subject_id"),
            ({"subject": "member", "subject_id": "bob@example.com"}, "subject_id"),
            ({"subject": "key", "subject_id": "atl_live_abc"}, "subject_id"),
            ({"subject": "end_user", "subject_id": "x" * 257}, "subject_id"),
            ({"subject": "end_user", "subject_id": "a\x00b"}, "subject_id"),
            ({"subject": "end_user", "subject_id": "\ud800"}, "subject_id"),
            ({"colour": "red"}, "colour"),
        ],
    )
    def test_is_refused_with_the_field(self, admin: Client, body: dict[str, Any], field: str) -> None:
        assert fields_of(put(admin, **body)) == [field]
        assert listed(admin) == []

    @pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{", b'"text"'])
    def test_that_is_no_object_is_refused(self, admin: Client, content: bytes) -> None:
        response = admin.put(QUOTAS, content, content_type="application/json")

        assert response.status_code in (400, 422)
        wire.assert_is_problem(response, response.status_code, response.json()["code"])

    def test_says_nothing_of_another_workspaces_member_or_key(
        self, admin: Client, charlies_workspace: Workspace, charlie: User
    ) -> None:
        (theirs,) = workspaces.memberships_of(charlie)
        key = api_keys.issue(charlies_workspace, "charlie's").key
        unknown = put(admin, subject="member", subject_id=ids.public(ids.Prefix.MEMBERSHIP, ids.new_id()))

        foreign = put(admin, subject="member", subject_id=member_id(theirs))

        assert foreign.json()["detail"] == unknown.json()["detail"]
        assert fields_of(put(admin, subject="key", subject_id=api_keys.public_id(key))) == ["subject_id"]

    def test_beyond_the_most_quotas_is_refused(self, admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "MAX_QUOTAS", 1)
        put(admin)

        response = put(admin, window="day")

        wire.assert_is_problem(response, 409, "too_many_quotas")
        assert len(listed(admin)) == 1


class TestList:
    def test_is_empty_at_first(self, admin: Client) -> None:
        assert listed(admin) == []

    def test_shows_all_of_them_with_their_use(
        self, admin: Client, membership: Membership, bobs_membership: Membership, bobs_api: Client
    ) -> None:
        for owner in (membership, bobs_membership):
            put(admin, subject="member", subject_id=member_id(owner), limit=5)
        put(admin, subject="member", unit="credits", window="day")
        wire.generate(bobs_api, num_images=2)

        shown = {(quota["subject_id"], quota["unit"]): quota["used"] for quota in listed(admin)}

        assert shown == {
            (member_id(membership), "images"): 0,
            (member_id(bobs_membership), "images"): 2,
            ("", "credits"): None,
        }

    def test_shows_a_member_those_that_apply(
        self, admin: Client, workspace: Workspace, membership: Membership, bobs_membership: Membership
    ) -> None:
        bobs = client(workspace, membership=bobs_membership)
        put(admin, limit=1_000)
        put(admin, subject="member", limit=50)
        put(admin, subject="member", subject_id=member_id(membership), limit=999, unit="credits")
        put(admin, subject="key", limit=10)
        put(admin, subject="end_user", limit=5)
        wire.generate(bobs, num_images=3)

        shown = {quota["subject"]: (quota["limit"], quota["used"]) for quota in listed(bobs)}

        assert shown == {"workspace": (1_000, 3), "member": (50, 3), "key": (10, 3)}

    def test_shows_who_sees_all_usage_all(
        self, admin: Client, workspace: Workspace, membership: Membership, bob: User
    ) -> None:
        put(admin, subject="member", subject_id=member_id(membership))
        billing = client(workspace, membership=workspaces.add_member(workspace, bob, Role.BILLING))

        assert len(listed(billing)) == 1

    def test_is_not_for_a_viewer(self, admin: Client, workspace: Workspace, bob: User) -> None:
        put(admin)
        viewer = client(workspace, membership=workspaces.add_member(workspace, bob, Role.VIEWER))

        wire.assert_is_problem(viewer.get(QUOTAS), 403, "role_forbids")

    def test_names_the_member_to_itself(
        self, admin: Client, workspace: Workspace, bobs_membership: Membership
    ) -> None:
        put(admin, subject="member")

        (quota,) = listed(client(workspace, membership=bobs_membership))

        assert quota["subject_id"] == member_id(bobs_membership)

    def test_shows_a_service_key_all(
        self, admin: Client, workspace: Workspace, membership: Membership
    ) -> None:
        put(admin, subject="member", subject_id=member_id(membership))

        assert len(listed(client(workspace))) == 1

    def test_counts_the_sides_apart(
        self, admin: Client, workspace: Workspace, membership: Membership
    ) -> None:
        put(admin)
        wire.generate(admin, num_images=2)
        test_side = client(workspace, membership=membership, side=Side.TEST)

        assert [quota["used"] for quota in listed(admin)] == [2]
        assert [quota["used"] for quota in listed(test_side)] == [0]

    def test_shows_nothing_of_another_workspace(self, admin: Client, charlies_api: Client) -> None:
        put(admin)

        assert listed(charlies_api) == []

    def test_begins_anew_by_the_workspaces_zone(self, admin: Client, workspace: Workspace) -> None:
        workspaces.set_time_zone(workspace, "Asia/Kolkata", EPOCH)
        put(admin, window="day")

        resets_at = datetime.fromisoformat(listed(admin)[0]["resets_at"])

        assert resets_at.astimezone(UTC).strftime("%H:%M") == "18:30"


class TestDelete:
    def test_removes_it(self, admin: Client, workspace: Workspace) -> None:
        quota_id = put(admin).json()["id"]

        response = admin.delete(f"{QUOTAS}/{quota_id}")

        assert (response.status_code, response.content) == (204, b"")
        assert listed(admin) == []
        assert AuditEvent.objects.for_workspace(workspace).latest("pk").action == "quota:removed"

    def test_lets_jobs_through_again(self, admin: Client) -> None:
        quota_id = put(admin, limit=0).json()["id"]
        assert wire.post(admin, prompt="a red boat").status_code == 429

        admin.delete(f"{QUOTAS}/{quota_id}")

        wire.generate(admin)

    @pytest.mark.parametrize("quota_id", ["quo_1", "1", "job_06ex9wvv4xv7n2qg2c4w1w8h8c", "quo_" + "z" * 26])
    def test_finds_nothing_for_what_is_no_id(self, admin: Client, quota_id: str) -> None:
        wire.assert_is_problem(admin.delete(f"{QUOTAS}/{quota_id}"), 404, "not_found")

    def test_finds_nothing_of_another_workspace(self, admin: Client, charlies_workspace: Workspace) -> None:
        quota_id = put(admin).json()["id"]

        response = client(charlies_workspace).delete(f"{QUOTAS}/{quota_id}")

        wire.assert_is_problem(response, 404, "not_found")
        assert len(listed(admin)) == 1


class TestTrial:
    def try_(self, api: Client, **body: Any) -> Any:
        return wire.post(api, TRIAL, **{**MONTHLY, **body})

    def age(self, workspace: Workspace, days: int) -> None:
        """As if all that was used had been accepted that many days earlier."""
        for row in UsageRecord.objects.for_workspace(workspace):
            moved = row.accepted_at - timedelta(days=days)
            UsageRecord.objects.for_workspace(workspace).filter(pk=row.pk).update(accepted_at=moved)

    def test_tells_who_would_have_been_refused(
        self, admin: Client, membership: Membership, bobs_membership: Membership, bobs_api: Client
    ) -> None:
        wire.finished(admin, num_images=2)
        wire.finished(bobs_api, num_images=2)
        wire.finished(bobs_api, "another boat", num_images=3)

        response = self.try_(admin, subject="member", limit=4, window="total")

        assert response.status_code == 200, response.content
        shown = response.json()
        assert (shown["jobs"], shown["refused_jobs"], shown["refused_subjects"]) == (3, 1, 1)
        assert (shown["images_not_made"], shown["credits_not_spent"], shown["has_more"]) == (3, 30, False)
        first, second = shown["subjects"]
        assert first.pop("first_refused_at") is not None
        assert first == {
            "subject_id": member_id(bobs_membership),
            "jobs": 2,
            "refused_jobs": 1,
            "images_not_made": 3,
            "credits_not_spent": 30,
            "highest_use": 2,
        }
        assert (second["subject_id"], second["first_refused_at"]) == (member_id(membership), None)

    def test_changes_nothing(self, admin: Client) -> None:
        wire.finished(admin)

        self.try_(admin, limit=0)

        assert listed(admin) == []
        wire.generate(admin, "another boat")

    def test_looks_31_days_back(self, admin: Client, workspace: Workspace) -> None:
        wire.finished(admin)
        self.age(workspace, 30)
        assert self.try_(admin, limit=0).json()["refused_jobs"] == 1

        self.age(workspace, 2)

        assert self.try_(admin, limit=0).json()["refused_jobs"] == 0

    def test_looks_at_the_time_that_is_asked_for(self, admin: Client, workspace: Workspace) -> None:
        wire.finished(admin)
        self.age(workspace, 200)
        since = datetime.now(UTC) - timedelta(days=210)
        until = since + timedelta(days=20)

        shown = self.try_(admin, limit=0, since=since.isoformat(), until=until.isoformat()).json()

        assert shown["refused_jobs"] == 1
        assert datetime.fromisoformat(shown["since"]) == since

    def test_finds_a_key_by_its_lineage(self, admin: Client, workspace: Workspace) -> None:
        issued = api_keys.issue(workspace, "first", terms=EVERYTHING)
        wire.finished(wire.client(issued.plain_text))
        second = api_keys.rotate(issued.key, timedelta(hours=1))
        wire.finished(wire.client(second.plain_text), "another boat")

        shown = self.try_(admin, subject="key", subject_id=api_keys.public_id(issued.key), limit=1).json()

        (one,) = shown["subjects"]
        assert (one["subject_id"], one["jobs"], one["refused_jobs"]) == (api_keys.public_id(second.key), 2, 1)

    def test_finds_an_end_user_by_the_callers_own_id(self, admin: Client) -> None:
        wire.finished(admin, user="customer-7")

        shown = self.try_(admin, subject="end_user", subject_id="customer-7", limit=0).json()

        assert shown["refused_jobs"] == 1
        assert "customer-7" not in str(shown)

    def test_names_a_hundred_of_many(self, admin: Client, workspace: Workspace) -> None:
        caller = factories.caller(workspace)
        job = jobs.submit(caller, factories.request(), Delivery())
        factories.drain()
        row = UsageRecord.objects.for_workspace(workspace).get(reference=job.public_id)
        for number in range(101):
            row.pk, row.reference, row.end_user_hash = ids.new_id(), f"job {number}", f"{number:064}"
            row.save(force_insert=True)

        shown = self.try_(admin, subject="end_user", limit=0).json()

        assert (len(shown["subjects"]), shown["has_more"]) == (100, True)
        assert (shown["jobs"], shown["refused_subjects"]) == (101, 101)

    @pytest.mark.parametrize(
        "body, field",
        [
            ({"limit": -1}, "limit"),
            ({"subject": "team"}, "subject"),
            ({"subject": "member", "subject_id": "mem_1"}, "subject_id"),
            ({"window": "day", "anchor_day": 5}, "anchor_day"),
            ({"is_hard": True}, "is_hard"),
            ({"since": "yesterday"}, "since"),
            ({"since": 5}, "since"),
            ({"since": "0001-01-01T00:00:00+14:00"}, "since"),
            ({"until": "9999-12-31T23:59:59-14:00"}, "until"),
            ({"until": "1999-01-01T00:00:00Z"}, "until"),
            ({"since": "2026-03-02T00:00:00Z", "until": "2026-03-02T00:00:00Z"}, "since"),
            ({"since": "2025-03-01T00:00:00Z", "until": "2026-03-03T00:00:00Z"}, "since"),
            ({"since": "2100-01-01T00:00:00Z"}, "since"),
        ],
    )
    def test_refuses_a_wrong_body(self, admin: Client, body: dict[str, Any], field: str) -> None:
        assert fields_of(self.try_(admin, **body)) == [field]

    def test_takes_the_ends_of_what_may_be_asked(self, admin: Client) -> None:
        for since in ("2000-01-01T00:00:00Z", "2099-01-01T00:00:00Z"):
            until = f"{int(since[:4]) + 1}-01-01T00:00:00Z"
            assert self.try_(admin, since=since, until=until).status_code == 200

    def test_tells_nothing_of_another_workspace(self, admin: Client, charlies_workspace: Workspace) -> None:
        wire.finished(admin)

        assert self.try_(client(charlies_workspace), limit=0).json()["jobs"] == 0


class TestPermission:
    def call(self, api: Client, name: str) -> Any:
        calls = {
            "list": lambda: api.get(QUOTAS),
            "put": lambda: put(api),
            "delete": lambda: api.delete(f"{QUOTAS}/quo_06ex9wvv4xv7n2qg2c4w1w8h8c"),
            "trial": lambda: wire.post(api, TRIAL, **MONTHLY),
        }
        return calls[name]()

    @pytest.mark.parametrize(
        "name, scope",
        [("list", Scope.USAGE), ("put", Scope.ADMIN), ("delete", Scope.ADMIN), ("trial", Scope.USAGE)],
    )
    def test_needs_its_scope(self, workspace: Workspace, model: Any, name: str, scope: Scope) -> None:
        others = tuple(one for one in Scope if one != scope)

        response = self.call(client(workspace, terms=Terms(scopes=others)), name)

        wire.assert_is_problem(response, 403, "scope_missing")
        assert response.json()["scope"] == scope
        assert self.call(client(workspace, terms=Terms(scopes=(scope,))), name).status_code in (200, 404)

    @pytest.mark.parametrize("name", ["put", "delete", "trial"])
    @pytest.mark.parametrize("role", [Role.MEMBER, Role.BILLING, Role.VIEWER])
    def test_is_an_admins(self, workspace: Workspace, bob: User, model: Any, name: str, role: Role) -> None:
        bobs = client(workspace, membership=workspaces.add_member(workspace, bob, role))

        wire.assert_is_problem(self.call(bobs, name), 403, "role_forbids")

    @pytest.mark.parametrize("role", [Role.OWNER, Role.ADMIN])
    def test_has_every_admin(self, workspace: Workspace, bob: User, model: Any, role: Role) -> None:
        bobs = client(workspace, membership=workspaces.add_member(workspace, bob, role))

        assert [self.call(bobs, name).status_code for name in ("put", "list", "trial")] == [200, 200, 200]

    @pytest.mark.parametrize("name", ["list", "put", "delete", "trial"])
    def test_needs_a_key(self, client: Client, db: None, name: str) -> None:
        wire.assert_is_problem(self.call(client, name), 401, "missing_api_key")
