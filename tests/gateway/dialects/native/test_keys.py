"""GET and POST /api/v1/keys, GET and DELETE /api/v1/keys/{id}, POST /api/v1/keys/{id}/rotate."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from accounts import api_keys, clock, workspaces
from accounts.api_keys import ExpiredKey, IssuedKey, RevokedKey
from accounts.key_terms import Terms
from accounts.models import ApiKey, AuditEvent, Membership, Scope, Side, User, Workspace
from accounts.roles import Role
from tests.gateway import wire

KEYS = "/api/v1/keys"
ADMIN = Terms(scopes=tuple(Scope))


@pytest.fixture
def managers(workspace: Workspace, membership: Membership) -> IssuedKey:
    """alice's key with the scope admin."""
    return api_keys.issue(workspace, "manager", membership=membership, terms=ADMIN)


@pytest.fixture
def manager(managers: IssuedKey, model: Any) -> Client:
    return wire.client(managers.plain_text)


@pytest.fixture
def test_manager(workspace: Workspace, membership: Membership, model: Any) -> Client:
    issued = api_keys.issue(workspace, "test", side=Side.TEST, membership=membership, terms=ADMIN)
    return wire.client(issued.plain_text)


@pytest.fixture
def service_manager(workspace: Workspace, model: Any) -> Client:
    return wire.client(api_keys.issue(workspace, "service manager", terms=ADMIN).plain_text)


@pytest.fixture
def bobs(workspace: Workspace, bobs_membership: Membership) -> IssuedKey:
    return api_keys.issue(workspace, "bob's", membership=bobs_membership)


def address(issued: IssuedKey, what: str = "") -> str:
    return f"{KEYS}/{api_keys.public_id(issued.key)}{what}"


def made(api: Client, **body: Any) -> dict[str, Any]:
    response = wire.post(api, KEYS, **{"name": "new", **body})
    assert response.status_code == 201, response.content
    return response.json()


def names(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [key["name"] for key in response.json()["data"]]


class TestList:
    def test_shows_the_newest_first(self, manager: Client, bobs: IssuedKey) -> None:
        assert names(manager.get(KEYS)) == ["bob's", "manager"]

    def test_shows_no_secret(self, manager: Client, managers: IssuedKey, bobs: IssuedKey) -> None:
        shown = manager.get(KEYS).content.decode()

        for issued in (managers, bobs):
            assert issued.key.prefix in shown
            assert issued.plain_text[22:54] not in shown
            assert issued.key.digest not in shown

    def test_filters_by_state(self, manager: Client, workspace: Workspace, bobs: IssuedKey) -> None:
        api_keys.revoke(bobs.key, clock.now())
        api_keys.issue(workspace, "over", terms=Terms(expires_at=clock.now()))

        assert names(manager.get(KEYS, {"state": "active"})) == ["manager"]
        assert names(manager.get(KEYS, {"state": "revoked"})) == ["bob's"]
        assert names(manager.get(KEYS, {"state": "expired"})) == ["over"]
        wire.assert_is_problem(manager.get(KEYS, {"state": "lost"}), 422, "invalid_request")

    def test_comes_in_pages(self, manager: Client, workspace: Workspace) -> None:
        for number in range(3):
            api_keys.issue(workspace, f"key {number}")

        first = manager.get(KEYS, {"limit": 3})
        second = manager.get(KEYS, {"limit": 3, "after": first.json()["next_after"]})

        assert (names(first), names(second)) == (["key 2", "key 1", "key 0"], ["manager"])
        assert (first.json()["has_more"], second.json()["has_more"]) == (True, False)
        assert second.json()["next_after"] is None

    def test_refuses_to_go_on_after_what_is_no_key(self, manager: Client) -> None:
        response = manager.get(KEYS, {"after": "job_" + "0" * 26})

        wire.assert_is_problem(response, 422, "invalid_request")
        assert response.json()["errors"][0]["field"] == "after"

    def test_shows_a_test_key_only_the_test_side(self, test_manager: Client, managers: IssuedKey) -> None:
        assert names(test_manager.get(KEYS)) == ["test"]

    def test_takes_few_queries_for_many_keys(
        self,
        manager: Client,
        workspace: Workspace,
        membership: Membership,
        django_assert_max_num_queries: Any,
    ) -> None:
        for number in range(10):
            api_keys.issue(workspace, f"key {number}", membership=membership)

        with django_assert_max_num_queries(8):
            assert len(names(manager.get(KEYS))) == 11


class TestWhoManages:
    @pytest.mark.parametrize("method, what", [("get", ""), ("post", ""), ("delete", ""), ("post", "/rotate")])
    def test_not_a_key_without_the_scope(self, api: Client, bobs: IssuedKey, method: str, what: str) -> None:
        for path in (KEYS, address(bobs, what)):
            response = getattr(api, method)(path, content_type="application/json")

            assert response.status_code in (403, 405)
        wire.assert_is_problem(api.get(KEYS), 403, "scope_missing")

    @pytest.mark.parametrize("role", [Role.MEMBER, Role.BILLING, Role.VIEWER])
    def test_not_a_member_whose_role_excludes_it(
        self, workspace: Workspace, bobs_membership: Membership, role: Role, managers: IssuedKey
    ) -> None:
        bobs_membership.role = role
        bobs_membership.save()
        bobs = wire.client(api_keys.issue(workspace, "b", membership=bobs_membership, terms=ADMIN).plain_text)

        for response in (
            bobs.get(KEYS),
            wire.post(bobs, KEYS, name="new"),
            bobs.get(address(managers)),
            bobs.delete(address(managers)),
            wire.post(bobs, address(managers, "/rotate")),
        ):
            wire.assert_is_problem(response, 403, "role_forbids")

    def test_not_a_stranger(self, managers: IssuedKey, charlies_workspace: Workspace) -> None:
        charlie = wire.client(api_keys.issue(charlies_workspace, "c", terms=ADMIN).plain_text)

        for response in (
            charlie.get(address(managers)),
            charlie.delete(address(managers)),
            wire.post(charlie, address(managers, "/rotate")),
        ):
            wire.assert_is_problem(response, 404, "not_found")
        assert names(charlie.get(KEYS)) == ["c"]
        assert api_keys.authenticate(managers.plain_text, clock.now()) == managers.key

    def test_not_the_test_side_the_live_one(self, test_manager: Client, managers: IssuedKey) -> None:
        wire.assert_is_problem(test_manager.get(address(managers)), 404, "not_found")
        wire.assert_is_problem(test_manager.delete(address(managers)), 404, "not_found")


class TestPost:
    def test_gives_a_key_that_works(self, manager: Client) -> None:
        new = made(manager, name="for the shop")

        shown = wire.client(new["key"]).get("/api/v1/key").json()
        assert (shown["id"], shown["name"], shown["prefix"]) == (new["id"], "for the shop", new["key"][:21])
        assert shown["member_email"] == "alice@example.com"

    def test_shows_the_text_once(self, manager: Client) -> None:
        new = made(manager)

        again = manager.get(f"{KEYS}/{new['id']}").json()

        assert "key" not in again
        assert {**again, "key": new["key"]} == {**new, "lineage": []}

    @pytest.mark.parametrize("name", ["Zoë’s shop", "中文", "👩‍🎨", "שלום", "a\u00a0b"])
    def test_takes_names_of_all_languages_and_trims_them(self, manager: Client, name: str) -> None:
        assert made(manager, name=f" {name}\n")["name"] == name

    def test_leaves_the_admin_scope_out_unless_asked(self, manager: Client) -> None:
        assert "admin" not in made(manager)["scopes"]
        assert made(manager, scopes=["jobs", "admin", "jobs"])["scopes"] == ["jobs", "admin"]

    def test_keeps_all_terms(self, manager: Client) -> None:
        terms = {
            "scopes": ["images"],
            "models": ["fake"],
            "networks": ["192.0.2.0/24", "2001:db8::/64"],
            "max_pixels": 4096,
            "max_steps": 4,
            "max_images": 2,
            "requests_per_minute": 30,
            "expires_at": "2099-01-01T00:00:00Z",
        }

        new = made(manager, **terms)

        assert {name: new[name] for name in terms} == terms

    def test_takes_unsaid_terms_from_the_key_that_makes_it(self, workspace: Workspace, model: Any) -> None:
        narrow = Terms(scopes=(Scope.ADMIN, Scope.JOBS), models=("fake",), max_steps=4)
        giver = wire.client(api_keys.issue(workspace, "narrow", terms=narrow).plain_text)

        new = made(giver)

        assert (new["scopes"], new["models"], new["max_steps"]) == (["jobs"], ["fake"], 4)

    @pytest.mark.parametrize(
        "field, value",
        [
            ("scopes", ["images"]),
            ("models", []),
            ("networks", ["0.0.0.0/0"]),
            ("max_pixels", 4097),
            ("max_steps", 5),
            ("max_images", 3),
            ("requests_per_minute", 31),
            ("expires_at", "2099-01-01T00:00:00.000001Z"),
        ],
    )
    def test_hands_out_no_more_than_it_has(
        self, workspace: Workspace, model: Any, field: str, value: Any
    ) -> None:
        narrow = Terms(
            scopes=(Scope.ADMIN, Scope.JOBS),
            models=("fake",),
            networks=("127.0.0.1",),
            max_pixels=4096,
            max_steps=4,
            max_images=2,
            requests_per_minute=30,
            expires_at=clock.now().replace(2099, 1, 1, 0, 0, 0, 0),
        )
        giver = wire.client(api_keys.issue(workspace, "narrow", terms=narrow).plain_text)

        response = wire.post(giver, KEYS, name="new", **{field: value})

        wire.assert_is_problem(response, 403, "broader_than_giver")
        assert response.json()["field"] == field

    def test_names_models_by_what_the_catalogue_calls_them(self, manager: Client) -> None:
        assert made(manager, models=["fake-alias", "fake"])["models"] == ["fake"]
        wire.assert_is_problem(wire.post(manager, KEYS, name="n", models=["lost"]), 404, "model_not_found")
        wire.assert_is_problem(wire.post(manager, KEYS, name="n", models=["fake@1"]), 422, "invalid_request")

    def test_makes_a_service_key_when_asked(self, manager: Client) -> None:
        new = made(manager, service=True)

        assert (new["is_service_key"], new["member_id"]) == (True, None)

    def test_makes_service_keys_with_a_service_key(self, service_manager: Client) -> None:
        assert made(service_manager)["is_service_key"] is True
        response = wire.post(service_manager, KEYS, name="new", service=False)
        wire.assert_is_problem(response, 422, "invalid_request")

    def test_makes_test_keys_on_the_test_side_only(self, manager: Client, test_manager: Client) -> None:
        assert made(manager, side="test")["key"].startswith("atl_test_")
        assert made(test_manager)["side"] == "test"
        response = wire.post(test_manager, KEYS, name="new", side="live")
        wire.assert_is_problem(response, 403, "broader_than_giver")

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"name": ""},
            {"name": "x" * 81},
            {"name": 7},
            {"name": "a\x00b"},
            {"name": "  "},
            {"name": "\u200b\u200d"},
            {"name": "a\nb"},
            {"name": "a\x1b[2Jb"},
            {"name": "a\u2028b"},
            {"name": "a\u202eb"},
            {"name": "a\u2066b"},
            {"name": "n", "side": "both"},
            {"name": "n", "service": "yes"},
            {"name": "n", "scopes": ["everything"]},
            {"name": "n", "scopes": "images"},
            {"name": "n", "networks": ["localhost"]},
            {"name": "n", "networks": ["2001:db8::/65"]},
            {"name": "n", "networks": ["64:ff9b::c000:207"]},
            {"name": "n", "networks": ["10.0.0.1"] * 101},
            {"name": "n", "max_steps": 0},
            {"name": "n", "max_steps": 2**31},
            {"name": "n", "max_steps": "4"},
            {"name": "n", "expires_at": "tomorrow"},
            {"name": "n", "expires_at": "2020-01-01T00:00:00Z"},
            {"name": "n", "expires_at": "9999-12-31T23:59:59-14:00"},
            {"name": "n", "expires_at": 7},
            {"name": "n", "secret": "of my choice"},
        ],
    )
    def test_refuses_what_makes_no_sense(self, manager: Client, body: dict[str, Any]) -> None:
        wire.assert_is_problem(wire.post(manager, KEYS, **body), 422, "invalid_request")

    def test_repeats_no_key_that_was_pasted_into_a_field(self, manager: Client, managers: IssuedKey) -> None:
        for field in ("side", "expires_at", "networks", managers.plain_text):
            value = [managers.plain_text] if field == "networks" else managers.plain_text

            response = wire.post(manager, KEYS, name="n", **{field: value})

            assert response.status_code == 422
            assert managers.plain_text[22:] not in response.content.decode()

    def test_tells_the_audit_which_key_made_it(self, manager: Client, workspace: Workspace) -> None:
        new = made(manager)

        event = AuditEvent.objects.for_workspace(workspace).latest("pk")
        assert (event.action, event.target) == ("api_key:issued", new["id"])
        assert event.actor.startswith("key:")
        assert new["key"][22:54] not in str(event.data)

    def test_keeps_the_text_out_of_the_log(self, manager: Client, caplog: pytest.LogCaptureFixture) -> None:
        new = made(manager)
        manager.get(f"{KEYS}/{new['key']}")

        assert f"/keys/{new['prefix']}_..." in caplog.text
        assert new["key"][22:] not in caplog.text


class TestGet:
    def test_shows_the_lineage_without_secrets(self, manager: Client, managers: IssuedKey) -> None:
        new = api_keys.rotate(managers.key, timedelta(hours=1))

        shown = manager.get(address(managers)).json()

        assert shown["replaced_by"] == api_keys.public_id(new.key)
        assert [(one["id"], one["state"]) for one in shown["lineage"]] == [
            (api_keys.public_id(new.key), "active")
        ]
        assert new.plain_text[22:] not in str(shown)

    @pytest.mark.parametrize("key_id", ["key_", "1", "key_" + "0" * 26, "job_" + "0" * 26, "%00"])
    def test_finds_no_malformed_or_unknown_id(self, manager: Client, key_id: str) -> None:
        wire.assert_is_problem(manager.get(f"{KEYS}/{key_id}"), 404, "not_found")


class TestDelete:
    def test_revokes_the_key_and_says_so(self, manager: Client, bobs: IssuedKey) -> None:
        response = manager.delete(address(bobs))

        assert (response.status_code, response.json()["state"]) == (200, "revoked")
        with pytest.raises(RevokedKey):
            api_keys.authenticate(bobs.plain_text, clock.now())

    def test_may_be_repeated(self, manager: Client, bobs: IssuedKey) -> None:
        first = manager.delete(address(bobs)).json()

        again = manager.delete(address(bobs))

        assert (again.status_code, again.json()["revoked_at"]) == (200, first["revoked_at"])

    def test_reaches_the_test_side_from_the_live_one(self, manager: Client, test_side_key: str) -> None:
        key = ApiKey.objects.across_workspaces().get(name="alice's test key")

        assert manager.delete(f"{KEYS}/{api_keys.public_id(key)}").status_code == 200
        wire.assert_is_problem(wire.client(test_side_key).get("/api/v1/key"), 401, "revoked_api_key")

    def test_may_end_itself(self, manager: Client, managers: IssuedKey) -> None:
        assert manager.delete(address(managers)).json()["state"] == "revoked"
        wire.assert_is_problem(manager.get(KEYS), 401, "revoked_api_key")


class TestRotate:
    def test_gives_a_new_text_and_keeps_the_old_one_for_a_day(
        self, manager: Client, managers: IssuedKey
    ) -> None:
        before = clock.now()

        response = wire.post(manager, address(managers, "/rotate"))

        new = response.json()
        managers.key.refresh_from_db()
        assert response.status_code == 201
        assert (new["name"], new["scopes"]) == ("manager", managers.key.scopes)
        assert wire.client(new["key"]).get(KEYS).status_code == manager.get(KEYS).status_code == 200
        assert managers.key.expires_at is not None
        assert timedelta(0) <= managers.key.expires_at - before - timedelta(days=1) < timedelta(minutes=1)

    def test_ends_the_old_one_at_once_without_grace(self, manager: Client, workspace: Workspace) -> None:
        service = api_keys.issue(workspace, "service")

        assert wire.post(manager, address(service, "/rotate"), grace_seconds=0).status_code == 201
        with pytest.raises(ExpiredKey):
            api_keys.authenticate(service.plain_text, clock.now())

    def test_replaces_only_the_last_of_a_lineage(self, manager: Client, workspace: Workspace) -> None:
        service = api_keys.issue(workspace, "service")
        wire.post(manager, address(service, "/rotate"))

        response = wire.post(manager, address(service, "/rotate"))

        wire.assert_is_problem(response, 409, "key_not_rotatable")

    def test_gives_nobody_another_members_key(self, manager: Client, bobs: IssuedKey) -> None:
        wire.assert_is_problem(wire.post(manager, address(bobs, "/rotate")), 403, "key_of_another_member")
        assert api_keys.authenticate(bobs.plain_text, clock.now()) == bobs.key

    def test_gives_no_key_that_is_broader(self, workspace: Workspace, model: Any) -> None:
        broad = api_keys.issue(workspace, "broad", terms=ADMIN)
        narrow = api_keys.issue(workspace, "narrow", terms=Terms(scopes=(Scope.ADMIN,)))

        response = wire.post(wire.client(narrow.plain_text), address(broad, "/rotate"))

        wire.assert_is_problem(response, 403, "broader_than_giver")

    @pytest.mark.parametrize("grace", [-1, 30 * 24 * 3600 + 1, "a day", 1.5, True])
    def test_refuses_an_absurd_grace(self, manager: Client, managers: IssuedKey, grace: Any) -> None:
        response = wire.post(manager, address(managers, "/rotate"), grace_seconds=grace)

        wire.assert_is_problem(response, 422, "invalid_request")


class TestRemovedMember:
    def test_keeps_no_key(self, workspace: Workspace, bobs: IssuedKey, bob: User, model: Any) -> None:
        (place,) = workspaces.memberships_of(bob)
        workspaces.remove_member(place, clock.now())

        response = wire.client(bobs.plain_text).get("/api/v1/key")

        wire.assert_is_problem(response, 401, "revoked_api_key")
