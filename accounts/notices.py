"""What people are told by e-mail. `put` belongs in the transaction of the change; `gateway.emails` sends.

A message in the outbox holds ids, and what only the event itself knew. Names, addresses and words are read when the
mail is written; when it is sent, the message is gone.
"""

import uuid
from collections.abc import Iterable
from enum import StrEnum

from accounts import ids, outbox
from accounts.models import Membership
from accounts.outbox import Topic
from accounts.roles import Action, Role, allows


class Notice(StrEnum):
    """Each has its templates, `templates/emails/<notice>.subject.txt` and `<notice>.txt`."""

    KEY_LEAKED = "key_leaked"
    QUOTA_CROSSED = "quota_crossed"


def put(notice: Notice, workspace_id: uuid.UUID, to: Iterable[Membership], **about: str) -> None:
    """Tell each of these members; `about` holds the ids of what the mail speaks of, never a key."""
    for membership in to:
        payload = {"notice": notice, "membership_id": str(membership.pk), **about}
        outbox.put(Topic.EMAIL, ids.new_id().hex, payload, workspace_id=workspace_id)


def managers_of(workspace_id: uuid.UUID, action: Action) -> list[Membership]:
    """The present owners and admins, or whoever else may do the thing that the notice is about."""
    roles = [role for role in Role if allows(role, action)]
    present = Membership.objects.for_workspace(workspace_id).filter(removed_at__isnull=True, role__in=roles)
    return list(present.order_by("created_at", "pk"))
