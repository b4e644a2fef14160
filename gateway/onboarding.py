"""What a new workspace gets: its rows, and play credits on the test side."""

from django.db import transaction

from accounts import ids, workspaces
from accounts.models import Side, User, Workspace
from billing import ledger
from billing.models import Source

PLAY_CREDITS = 1_000_000


def open_workspace(name: str, owner: User) -> Workspace:
    with transaction.atomic():
        workspace = workspaces.create(name, owner)
        operation_id = f"play:{ids.public(ids.Prefix.WORKSPACE, workspace.pk)}"
        ledger.grant(workspace.pk, PLAY_CREDITS, Source.PLAY, operation_id, side=Side.TEST)
    return workspace
