from datetime import UTC, datetime

import pytest
from django.db import IntegrityError

from accounts import audit, ids, keyring, workspaces
from accounts.audit import Origin
from accounts.models import AuditEvent, Membership, User, Workspace
from accounts.roles import Role

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ORIGIN = Origin("user:alice", "req_1")


class TestCreate:
    def test_makes_its_owner_a_member(self, alice: User) -> None:
        made = workspaces.create("Studio", alice)

        (owner,) = Membership.objects.for_workspace(made)
        assert (owner.user, owner.role) == (alice, Role.OWNER)

    def test_gives_it_a_keyring(self, alice: User) -> None:
        made = workspaces.create("Studio", alice)

        opened = keyring.of(made.pk)
        assert opened.decrypt(opened.encrypt(b"works")) == b"works"

    def test_records_workspace_and_owner(self, alice: User) -> None:
        made = workspaces.create("Studio", alice, ORIGIN)

        events = AuditEvent.objects.for_workspace(made).order_by("pk")
        assert [event.action for event in events] == [audit.Event.WORKSPACE_CREATED, audit.Event.MEMBER_ADDED]
        assert {(event.actor, event.request_id) for event in events} == {("user:alice", "req_1")}

    def test_names_the_workspace_by_its_public_id(self, alice: User) -> None:
        made = workspaces.create("Studio", alice)

        event = AuditEvent.objects.for_workspace(made).get(action=audit.Event.WORKSPACE_CREATED)
        assert event.target == ids.public(ids.Prefix.WORKSPACE, made.pk)

    def test_lets_one_person_own_several(self, alice: User) -> None:
        first, second = workspaces.create("First", alice), workspaces.create("Second", alice)

        assert [place.workspace for place in workspaces.memberships_of(alice)] == [first, second]


class TestAddMember:
    def test_gives_the_role(self, workspace: Workspace, bob: User) -> None:
        membership = workspaces.add_member(workspace, bob, Role.BILLING)

        assert Membership.objects.for_workspace(workspace).get(user=bob) == membership
        assert membership.role == Role.BILLING

    def test_records_the_role(self, workspace: Workspace, bob: User) -> None:
        membership = workspaces.add_member(workspace, bob, Role.VIEWER)

        event = AuditEvent.objects.for_workspace(workspace).latest("pk")
        assert event.target == ids.public(ids.Prefix.MEMBERSHIP, membership.pk)
        assert event.data == {"role": "viewer"}

    def test_refuses_a_second_place_of_the_same_person(
        self, workspace: Workspace, bobs_membership: Membership, bob: User
    ) -> None:
        with pytest.raises(IntegrityError):
            workspaces.add_member(workspace, bob, Role.ADMIN)


class TestMembershipsOf:
    def test_gives_the_oldest_first(
        self, bob: User, workspace: Workspace, charlies_workspace: Workspace
    ) -> None:
        later = workspaces.add_member(charlies_workspace, bob, Role.VIEWER)
        last = workspaces.add_member(workspace, bob, Role.MEMBER)

        assert workspaces.memberships_of(bob) == [later, last]

    def test_leaves_out_a_place_that_was_taken_away(self, bobs_membership: Membership, bob: User) -> None:
        bobs_membership.removed_at = NOW
        bobs_membership.save()

        assert workspaces.memberships_of(bob) == []

    def test_gives_nothing_to_a_stranger(self, workspace: Workspace, charlie: User) -> None:
        assert workspaces.memberships_of(charlie) == []
