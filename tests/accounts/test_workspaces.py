from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection

from accounts import api_keys, audit, ids, keyring, workspaces
from accounts.api_keys import RevokedKey
from accounts.audit import Origin
from accounts.models import ApiKey, AuditEvent, Membership, User, Workspace
from accounts.periods import UnknownTimeZone
from accounts.roles import Role
from accounts.workspaces import GRACE, DeletionBegan, LastOwner, TimeZoneChangePending, WorkspaceClosing

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


class TestRemoveMember:
    def test_takes_the_place_away(self, bobs_membership: Membership, bob: User) -> None:
        assert workspaces.remove_member(bobs_membership, NOW)

        assert workspaces.memberships_of(bob) == []

    def test_revokes_the_members_keys_and_no_others(
        self, workspace: Workspace, membership: Membership, bobs_membership: Membership
    ) -> None:
        bobs = [api_keys.issue(workspace, f"bob's {n}", membership=bobs_membership).key for n in range(2)]
        api_keys.issue(workspace, "alice's", membership=membership)
        api_keys.issue(workspace, "service")

        workspaces.remove_member(bobs_membership, NOW)

        revoked = ApiKey.objects.for_workspace(workspace).filter(revoked_at=NOW)
        assert list(revoked.order_by("pk")) == bobs

    def test_keeps_old_keys_revoked_when_the_member_comes_back(
        self, workspace: Workspace, bobs_membership: Membership, bob: User
    ) -> None:
        issued = api_keys.issue(workspace, "bob's", membership=bobs_membership)
        workspaces.remove_member(bobs_membership, NOW)

        workspaces.add_member(workspace, bob, Role.MEMBER)

        with pytest.raises(RevokedKey):
            api_keys.authenticate(issued.plain_text, NOW)

    def test_records_member_and_keys(self, workspace: Workspace, bobs_membership: Membership) -> None:
        issued = api_keys.issue(workspace, "bob's", membership=bobs_membership)

        workspaces.remove_member(bobs_membership, NOW, ORIGIN)

        first, second = AuditEvent.objects.for_workspace(workspace).order_by("-pk")[:2]
        assert (first.action, first.data, first.actor) == (
            "member:removed",
            {"revoked_keys": 1},
            "user:alice",
        )
        assert first.target == ids.public(ids.Prefix.MEMBERSHIP, bobs_membership.pk)
        assert (second.action, second.target) == ("api_key:revoked", api_keys.public_id(issued.key))

    def test_changes_nothing_a_second_time(self, workspace: Workspace, bobs_membership: Membership) -> None:
        workspaces.remove_member(bobs_membership, NOW)
        events = AuditEvent.objects.for_workspace(workspace).count()

        assert not workspaces.remove_member(bobs_membership, NOW)
        assert AuditEvent.objects.for_workspace(workspace).count() == events

    def test_refuses_the_last_owner(
        self, workspace: Workspace, membership: Membership, bobs_membership: Membership, alice: User
    ) -> None:
        with pytest.raises(LastOwner):
            workspaces.remove_member(membership, NOW)

        assert workspaces.memberships_of(alice) == [membership]

    def test_lets_an_owner_go_when_another_stays(
        self, workspace: Workspace, membership: Membership, charlie: User
    ) -> None:
        other = workspaces.add_member(workspace, charlie, Role.OWNER)

        assert workspaces.remove_member(membership, NOW)
        with pytest.raises(LastOwner):
            workspaces.remove_member(other, NOW)


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


class TestSetTimeZone:
    def test_keeps_the_earlier_one_and_the_time(self, workspace: Workspace) -> None:
        workspaces.set_time_zone(workspace, "Asia/Tokyo", NOW)

        assert (workspace.time_zone, workspace.earlier_time_zone) == ("Asia/Tokyo", "UTC")
        assert workspace.time_zone_changed_at == NOW

    def test_records_both(self, workspace: Workspace) -> None:
        workspaces.set_time_zone(workspace, "Asia/Tokyo", NOW, ORIGIN)

        event = AuditEvent.objects.for_workspace(workspace).latest("pk")
        assert (event.action, event.actor) == (audit.Event.TIME_ZONE_CHANGED, "user:alice")
        assert event.target == ids.public(ids.Prefix.WORKSPACE, workspace.pk)
        assert event.data == {"time_zone": "Asia/Tokyo", "earlier_time_zone": "UTC"}

    def test_to_the_present_one_changes_nothing(self, workspace: Workspace) -> None:
        workspaces.set_time_zone(workspace, "UTC", NOW)

        events = AuditEvent.objects.for_workspace(workspace)
        assert not events.filter(action=audit.Event.TIME_ZONE_CHANGED).exists()
        assert workspace.time_zone_changed_at is None

    @pytest.mark.parametrize("name", ["", "Mars/Olympus", "../etc/passwd", "localtime", "europe/berlin"])
    def test_refuses_a_name_that_is_no_zone(self, workspace: Workspace, name: str) -> None:
        with pytest.raises(UnknownTimeZone):
            workspaces.set_time_zone(workspace, name, NOW)

        workspace.refresh_from_db()
        assert workspace.time_zone == "UTC"

    def test_refuses_a_second_change_until_the_first_is_in_force_for_every_period(
        self, workspace: Workspace
    ) -> None:
        workspaces.set_time_zone(workspace, "Asia/Tokyo", NOW)

        with pytest.raises(TimeZoneChangePending) as refused:
            workspaces.set_time_zone(workspace, "Europe/Berlin", NOW + timedelta(days=20))

        assert timedelta(days=31) < refused.value.until - NOW < timedelta(days=80)
        workspace.refresh_from_db()
        assert workspace.time_zone == "Asia/Tokyo"

    def test_refuses_to_take_a_pending_change_back(self, workspace: Workspace) -> None:
        """Otherwise going to and fro would begin periods anew."""
        workspaces.set_time_zone(workspace, "Asia/Tokyo", NOW)

        with pytest.raises(TimeZoneChangePending):
            workspaces.set_time_zone(workspace, "UTC", NOW)

    def test_takes_the_next_change_from_the_date_that_it_told(self, workspace: Workspace) -> None:
        workspaces.set_time_zone(workspace, "Asia/Tokyo", NOW)
        with pytest.raises(TimeZoneChangePending) as refused:
            workspaces.set_time_zone(workspace, "Europe/Berlin", NOW)
        until = refused.value.until

        with pytest.raises(TimeZoneChangePending):
            workspaces.set_time_zone(workspace, "Europe/Berlin", until - timedelta(microseconds=1))
        workspaces.set_time_zone(workspace, "Europe/Berlin", until)

        assert (workspace.time_zone, workspace.earlier_time_zone) == ("Europe/Berlin", "Asia/Tokyo")

    def test_leaves_other_workspaces_alone(self, workspace: Workspace, charlies_workspace: Workspace) -> None:
        workspaces.set_time_zone(workspace, "Asia/Tokyo", NOW)

        charlies_workspace.refresh_from_db()
        assert charlies_workspace.time_zone == "UTC"


class TestRename:
    def test_gives_the_workspace_another_name(self, workspace: Workspace) -> None:
        workspaces.rename(workspace.pk, "Atelier Alice")

        assert Workspace.objects.get(pk=workspace.pk).name == "Atelier Alice"

    def test_is_written_down_without_the_names(self, workspace: Workspace) -> None:
        workspaces.rename(workspace.pk, "Atelier Alice", ORIGIN)

        event = AuditEvent.objects.for_workspace(workspace).get(action=audit.Event.WORKSPACE_RENAMED)
        assert (event.actor, event.data) == ("user:alice", {})

    def test_to_the_same_name_is_no_event(self, workspace: Workspace) -> None:
        workspaces.rename(workspace.pk, workspace.name)

        events = AuditEvent.objects.for_workspace(workspace).filter(action=audit.Event.WORKSPACE_RENAMED)
        assert not events.exists()

    def test_leaves_other_workspaces(self, workspace: Workspace, charlies_workspace: Workspace) -> None:
        workspaces.rename(workspace.pk, "Atelier Alice")

        charlies_workspace.refresh_from_db()
        assert charlies_workspace.name == "Charlie's studio"


class TestClose:
    def test_gives_thirty_days_of_grace(self, workspace: Workspace) -> None:
        closed = workspaces.close(workspace.pk, NOW)

        assert closed.closing_at == NOW + timedelta(days=30)

    def test_keeps_the_first_date(self, workspace: Workspace) -> None:
        workspaces.close(workspace.pk, NOW)

        assert workspaces.close(workspace.pk, NOW + timedelta(days=9)).closing_at == NOW + GRACE

    def test_is_written_down_once(self, workspace: Workspace) -> None:
        workspaces.close(workspace.pk, NOW, ORIGIN)
        workspaces.close(workspace.pk, NOW, ORIGIN)

        event = AuditEvent.objects.for_workspace(workspace).get(action=audit.Event.WORKSPACE_CLOSED)
        assert (event.actor, event.data) == ("user:alice", {"closing_at": "2026-03-31T12:00:00+00:00"})

    def test_leaves_other_workspaces(self, workspace: Workspace, charlies_workspace: Workspace) -> None:
        workspaces.close(workspace.pk, NOW)

        charlies_workspace.refresh_from_db()
        assert charlies_workspace.closing_at is None


class TestReopen:
    def test_takes_the_closing_back(self, workspace: Workspace) -> None:
        workspaces.close(workspace.pk, NOW)

        reopened = workspaces.reopen(workspace.pk, NOW + timedelta(days=29), ORIGIN)

        assert reopened.closing_at is None
        event = AuditEvent.objects.for_workspace(workspace).get(action=audit.Event.WORKSPACE_REOPENED)
        assert event.actor == "user:alice"

    def test_leaves_an_open_workspace_as_it_is(self, workspace: Workspace) -> None:
        assert workspaces.reopen(workspace.pk, NOW).closing_at is None

        events = AuditEvent.objects.for_workspace(workspace).filter(action=audit.Event.WORKSPACE_REOPENED)
        assert not events.exists()

    def test_is_possible_until_the_date_and_not_on_it(self, workspace: Workspace) -> None:
        workspaces.close(workspace.pk, NOW)

        with pytest.raises(DeletionBegan):
            workspaces.reopen(workspace.pk, NOW + GRACE)
        assert workspaces.reopen(workspace.pk, NOW + GRACE - timedelta(milliseconds=1)).closing_at is None

    def test_lets_a_closing_stand_that_comes_in_between(self, workspace: Workspace) -> None:
        """It found the workspace open; that somebody closes it right afterwards begins no deletion."""

        def close_after_update(execute: Any, sql: str, *arguments: Any) -> Any:
            result = execute(sql, *arguments)
            if sql.startswith("UPDATE") and not closed:
                closed.append(True)
                workspaces.close(workspace.pk, NOW)
            return result

        closed: list[bool] = []
        with connection.execute_wrapper(close_after_update):
            found = workspaces.reopen(workspace.pk, NOW)

        assert found.closing_at == NOW + GRACE

    def test_comes_too_late_once_the_deletion_began(self, workspace: Workspace) -> None:
        """Whoever read the time a moment earlier and waited for the row must not win either."""
        workspaces.close(workspace.pk, NOW)
        workspaces.begin_deletion(workspace.pk, NOW + GRACE)

        with pytest.raises(DeletionBegan):
            workspaces.reopen(workspace.pk, NOW + GRACE - timedelta(seconds=1))


class TestBeginDeletion:
    def test_takes_name_members_and_keys(self, workspace: Workspace, alice: User, key: str) -> None:
        service = api_keys.issue(workspace, "of nobody").plain_text
        workspaces.close(workspace.pk, NOW)

        assert workspaces.begin_deletion(workspace.pk, NOW + GRACE)

        assert Workspace.objects.get(pk=workspace.pk).name == ""
        assert workspaces.memberships_of(alice) == []
        for plain_text in (key, service):
            with pytest.raises(RevokedKey):
                api_keys.authenticate(plain_text, NOW)

    def test_says_the_same_the_second_time(self, workspace: Workspace) -> None:
        workspaces.close(workspace.pk, NOW)

        assert [workspaces.begin_deletion(workspace.pk, NOW + GRACE) for _ in range(2)] == [True, True]

    def test_changes_nothing_before_the_date(self, workspace: Workspace, alice: User) -> None:
        workspaces.close(workspace.pk, NOW)

        assert not workspaces.begin_deletion(workspace.pk, NOW + GRACE - timedelta(milliseconds=1))
        assert Workspace.objects.get(pk=workspace.pk).name == workspace.name
        assert len(workspaces.memberships_of(alice)) == 1

    def test_changes_nothing_of_an_open_workspace(self, workspace: Workspace) -> None:
        assert not workspaces.begin_deletion(workspace.pk, NOW + timedelta(days=5_000))


class TestRefuseIfClosing:
    def test_tells_the_date(self, workspace: Workspace) -> None:
        closed = workspaces.close(workspace.pk, NOW)

        with pytest.raises(WorkspaceClosing, match="2026-03-31 12:00 UTC"):
            workspaces.refuse_if_closing(closed)

    def test_lets_an_open_workspace_pass(self, workspace: Workspace) -> None:
        workspaces.refuse_if_closing(workspace)
