"""Creating workspaces and their members."""

from django.db import transaction

from accounts import audit, ids, keyring
from accounts.audit import Origin
from accounts.models import Membership, User, Workspace
from accounts.roles import Role


def create(name: str, owner: User, origin: Origin = audit.SYSTEM) -> Workspace:
    """A new workspace with its keyring and its owner, in one transaction."""
    with transaction.atomic():
        workspace = Workspace.objects.create(name=name)
        keyring.create(workspace.pk)
        audit.record(
            audit.Event.WORKSPACE_CREATED,
            workspace.pk,
            ids.public(ids.Prefix.WORKSPACE, workspace.pk),
            origin,
        )
        add_member(workspace, owner, Role.OWNER, origin)
    return workspace


def add_member(workspace: Workspace, user: User, role: Role, origin: Origin = audit.SYSTEM) -> Membership:
    """Give a person a place, or a removed member the place back; raises IntegrityError for a present member."""
    with transaction.atomic():
        left = Membership.objects.for_workspace(workspace).filter(user=user, removed_at__isnull=False).first()
        membership = left or Membership(workspace=workspace, user=user)
        membership.role, membership.removed_at = role, None
        membership.save()
        audit.record(
            audit.Event.MEMBER_ADDED,
            workspace.pk,
            ids.public(ids.Prefix.MEMBERSHIP, membership.pk),
            origin,
            role=role,
        )
    return membership


def memberships_of(user: User) -> list[Membership]:
    """The person's places, oldest first; used to choose the workspace of a page."""
    active = Membership.objects.across_workspaces().filter(user=user, removed_at__isnull=True)
    return list(active.select_related("workspace").order_by("created_at", "id"))
