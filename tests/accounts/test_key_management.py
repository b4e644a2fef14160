from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts import api_keys, audit, clock, key_management, key_terms, workspaces
from accounts.api_keys import ExpiredKey, IssuedKey, NotRotatable, RevokedKey
from accounts.audit import Origin
from accounts.key_management import KeyNotFound, KeyOfAnotherMember, State
from accounts.key_terms import BroaderThanGiver, InvalidTerms, Terms
from accounts.models import ApiKey, AuditEvent, Membership, Scope, Side, User, Workspace
from accounts.roles import Role

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ADMIN = Terms(scopes=tuple(Scope))
HOUR = timedelta(hours=1)


@pytest.fixture
def manager(workspace: Workspace, membership: Membership) -> ApiKey:
    """alice's key with the scope admin."""
    return api_keys.issue(workspace, "manager", membership=membership, terms=ADMIN).key


@pytest.fixture
def test_manager(workspace: Workspace, membership: Membership) -> ApiKey:
    return api_keys.issue(workspace, "test", side=Side.TEST, membership=membership, terms=ADMIN).key


@pytest.fixture
def service_manager(workspace: Workspace) -> ApiKey:
    return api_keys.issue(workspace, "service manager", terms=ADMIN).key


@pytest.fixture
def bobs(workspace: Workspace, bobs_membership: Membership) -> ApiKey:
    return api_keys.issue(workspace, "bob's", membership=bobs_membership).key


def make(giver: ApiKey, **options: Any) -> IssuedKey:
    asked: dict[str, Any] = {"side": Side(giver.side), "is_service": giver.membership_id is None}
    return key_management.make(giver, "new", **{**asked, "asked": {}, **options})


def in_state(keys: Any, state: State) -> set[str]:
    return {key.name for key in key_management.in_state(keys, state, NOW)}


class TestState:
    @pytest.fixture
    def keys(self, workspace: Workspace, membership: Membership, bobs_membership: Membership) -> Any:
        """One key for every way to end, and some that have not ended; named by their state."""

        def key(name: str, **options: Any) -> ApiKey:
            return api_keys.issue(workspace, name, **options).key

        key("active service")
        key("active member", membership=membership)
        key("active until later", terms=Terms(expires_at=NOW + HOUR))
        key("expired just now", terms=Terms(expires_at=NOW))
        key("revoked of removed member", membership=bobs_membership)
        over = key("revoked and expired", terms=Terms(expires_at=NOW))
        api_keys.revoke(over, NOW)
        api_keys.revoke(key("revoked"), NOW)
        Membership.objects.for_workspace(workspace).filter(pk=bobs_membership.pk).update(removed_at=NOW)
        return ApiKey.objects.for_workspace(workspace).select_related("workspace", "membership__user")

    def test_is_told_of_every_key(self, keys: Any) -> None:
        assert all(key.name.startswith(key_management.state_of(key, NOW)) for key in keys)

    def test_is_what_a_list_is_filtered_by(self, keys: Any) -> None:
        by_state = {state: in_state(keys, state) for state in State}

        assert all(name.startswith(state) for state, names in by_state.items() for name in names)
        assert sum(map(len, by_state.values())) == len(keys)

    def test_is_revoked_when_the_person_was_deactivated(self, keys: Any, alice: User) -> None:
        alice.is_active = False
        alice.save()

        assert "active member" in in_state(keys, State.REVOKED)
        assert "active service" in in_state(keys, State.ACTIVE)

    def test_is_the_keys_own_in_a_suspended_workspace(self, keys: Any, workspace: Workspace) -> None:
        workspace.suspended_at = NOW
        workspace.save()

        assert key_management.state_of(keys.get(name="active service"), NOW) == State.ACTIVE


class TestGet:
    def test_gives_every_key_of_the_workspace(
        self, manager: ApiKey, bobs: ApiKey, test_manager: ApiKey
    ) -> None:
        assert key_management.get(manager, bobs.pk) == bobs
        assert key_management.get(manager, test_manager.pk) == test_manager

    def test_gives_a_test_key_only_those_of_the_test_side(
        self, test_manager: ApiKey, manager: ApiKey
    ) -> None:
        assert key_management.get(test_manager, test_manager.pk) == test_manager
        with pytest.raises(KeyNotFound):
            key_management.get(test_manager, manager.pk)

    def test_gives_none_of_a_stranger(self, manager: ApiKey, charlies_workspace: Workspace) -> None:
        charlies = api_keys.issue(charlies_workspace, "charlie's").key

        with pytest.raises(KeyNotFound):
            key_management.get(manager, charlies.pk)


class TestMake:
    def test_makes_a_key_of_the_givers_member(self, manager: ApiKey) -> None:
        new = make(manager).key

        assert (new.membership_id, new.side, new.name) == (manager.membership_id, "live", "new")

    def test_makes_a_service_key_when_asked(self, manager: ApiKey) -> None:
        assert make(manager, is_service=True).key.membership is None

    def test_makes_a_service_key_with_one(self, service_manager: ApiKey) -> None:
        assert make(service_manager).key.membership is None

    def test_makes_test_keys_with_live_ones_and_never_live_ones_with_test_ones(
        self, manager: ApiKey, test_manager: ApiKey
    ) -> None:
        assert make(manager, side=Side.TEST).key.side == "test"
        with pytest.raises(BroaderThanGiver) as refused:
            make(test_manager, side=Side.LIVE)

        assert refused.value.field == "side"

    def test_hands_out_no_more_than_the_giver_has(self, workspace: Workspace) -> None:
        narrow = Terms(scopes=(Scope.ADMIN,), max_steps=4)
        giver = api_keys.issue(workspace, "narrow", terms=narrow).key

        assert make(giver, asked={"scopes": (Scope.ADMIN,), "max_steps": 4}).key.scopes == ["admin"]
        with pytest.raises(BroaderThanGiver):
            make(giver, asked={"max_steps": None})

    def test_refuses_an_end_that_has_passed(self, manager: ApiKey) -> None:
        with pytest.raises(InvalidTerms) as refused:
            make(manager, asked={"expires_at": clock.now()})

        assert refused.value.field == "expires_at"

    def test_leaves_no_key_of_a_giver_that_has_just_been_revoked(self, manager: ApiKey) -> None:
        ApiKey.objects.across_workspaces().filter(pk=manager.pk).update(revoked_at=NOW)

        with pytest.raises(RevokedKey):
            make(manager)

        assert ApiKey.objects.across_workspaces().count() == 1

    def test_goes_by_the_terms_in_the_database(self, manager: ApiKey) -> None:
        ApiKey.objects.across_workspaces().filter(pk=manager.pk).update(max_images=1)

        assert make(manager).key.max_images == 1
        with pytest.raises(BroaderThanGiver):
            make(manager, asked={"max_images": 2})

    def test_goes_on_with_a_giver_that_was_rotated_a_moment_ago(self, manager: ApiKey) -> None:
        kept = ApiKey.objects.across_workspaces().select_related("workspace", "membership__user").get()
        api_keys.rotate(manager, HOUR)

        new = make(kept).key

        kept.refresh_from_db()
        assert new.expires_at == kept.expires_at is not None

    def test_makes_nothing_for_a_giver_that_is_gone(self, manager: ApiKey) -> None:
        ApiKey.objects.across_workspaces().filter(pk=manager.pk).delete()

        with pytest.raises(KeyNotFound):
            make(manager)

    def test_tells_the_audit_who_made_it(self, manager: ApiKey) -> None:
        issued = key_management.make(
            manager, "new", side=Side.LIVE, is_service=True, asked={}, origin=Origin("key:k", "req_1")
        )

        event = AuditEvent.objects.for_workspace(manager.workspace_id).latest("pk")
        assert (event.action, event.actor) == (audit.Event.KEY_ISSUED, "key:k")
        assert event.target == api_keys.public_id(issued.key)


class TestTermsLike:
    def test_are_the_givers_without_the_scope_admin(self, workspace: Workspace) -> None:
        terms = Terms(scopes=(Scope.ADMIN, Scope.JOBS), models=("fake",), max_steps=4)
        giver = api_keys.issue(workspace, "giver", terms=terms).key

        like = key_management.terms_like(giver)

        assert like == Terms(scopes=(Scope.JOBS,), models=("fake",), max_steps=4)
        key_terms.require_within(terms, like)


class TestReplace:
    def test_replaces_the_giver_itself(self, manager: ApiKey) -> None:
        new = key_management.replace(manager, manager, HOUR)

        assert new.key.lineage_id == manager.lineage_id

    def test_replaces_a_service_key(self, manager: ApiKey, service_manager: ApiKey) -> None:
        assert key_management.replace(manager, service_manager, HOUR).key.membership is None

    def test_gives_nobody_the_key_of_another_member(
        self, manager: ApiKey, service_manager: ApiKey, bobs: ApiKey
    ) -> None:
        for giver in (manager, service_manager):
            with pytest.raises(KeyOfAnotherMember):
                key_management.replace(giver, bobs, HOUR)

    def test_lets_an_admin_not_become_the_owner(
        self, workspace: Workspace, manager: ApiKey, charlie: User
    ) -> None:
        admin = workspaces.add_member(workspace, charlie, Role.ADMIN)
        admins_key = api_keys.issue(workspace, "admin", membership=admin, terms=ADMIN).key

        with pytest.raises(KeyOfAnotherMember):
            key_management.replace(admins_key, manager, HOUR)

    def test_gives_no_key_that_is_broader(self, workspace: Workspace, service_manager: ApiKey) -> None:
        narrow = api_keys.issue(workspace, "narrow", terms=Terms(scopes=(Scope.ADMIN,))).key

        with pytest.raises(BroaderThanGiver):
            key_management.replace(narrow, service_manager, HOUR)

    def test_says_that_the_giver_itself_was_replaced_a_moment_ago(self, manager: ApiKey) -> None:
        kept = ApiKey.objects.across_workspaces().select_related("workspace", "membership__user").get()
        api_keys.rotate(manager, HOUR)

        with pytest.raises(NotRotatable):
            key_management.replace(kept, kept, HOUR)

    def test_refuses_a_second_time(self, manager: ApiKey) -> None:
        key_management.replace(manager, manager, HOUR)

        with pytest.raises(NotRotatable):
            key_management.replace(manager, manager, HOUR)

    def test_refuses_a_giver_that_has_just_ended(self, manager: ApiKey) -> None:
        key_management.replace(manager, manager, timedelta())

        with pytest.raises(ExpiredKey):
            key_management.replace(manager, manager, timedelta())


class TestLineage:
    def test_gives_all_keys_of_it_oldest_first(self, manager: ApiKey, workspace: Workspace) -> None:
        second = api_keys.rotate(manager, HOUR).key
        third = api_keys.rotate(second, HOUR).key
        api_keys.issue(workspace, "another")

        assert key_management.lineage(second) == [manager, second, third]
