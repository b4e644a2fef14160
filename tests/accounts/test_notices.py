from accounts import notices, workspaces
from accounts.models import Membership, OutboxMessage, User, Workspace
from accounts.notices import Notice
from accounts.outbox import Topic
from accounts.roles import Action, Role


class TestPut:
    def test_leaves_a_message_for_each_member(
        self, workspace: Workspace, membership: Membership, bobs_membership: Membership
    ) -> None:
        notices.put(Notice.KEY_LEAKED, workspace.pk, [membership, bobs_membership], key_id="7")

        waiting = OutboxMessage.objects.filter(topic=Topic.EMAIL, workspace_id=workspace.pk).order_by("pk")
        assert [message.payload for message in waiting] == [
            {"notice": "key_leaked", "membership_id": str(one.pk), "key_id": "7"}
            for one in (membership, bobs_membership)
        ]

    def test_may_tell_the_same_twice(self, workspace: Workspace, membership: Membership) -> None:
        for _ in range(2):
            notices.put(Notice.KEY_LEAKED, workspace.pk, [membership], key_id="7")

        assert OutboxMessage.objects.filter(topic=Topic.EMAIL).count() == 2


class TestManagersOf:
    def test_are_those_whose_role_includes_the_action(
        self, workspace: Workspace, membership: Membership, bobs_membership: Membership, charlie: User
    ) -> None:
        admin = workspaces.add_member(workspace, charlie, Role.ADMIN)

        assert notices.managers_of(workspace.pk, Action.MANAGE_KEYS) == [membership, admin]
        assert notices.managers_of(workspace.pk, Action.CLOSE_WORKSPACE) == [membership]
