"""Creating and closing workspaces, and their members."""

import uuid
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q

from accounts import api_keys, audit, ids, keyring, periods, tenancy
from accounts.audit import Origin
from accounts.models import ApiKey, Membership, User, Workspace
from accounts.periods import Schedule
from accounts.roles import Role

GRACE = timedelta(days=30)
DELETED = ""  # the name of a workspace whose deletion has begun


class WorkspaceClosing(Exception):
    """The workspace is to be deleted at that time and accepts no jobs."""

    def __init__(self, closing_at: datetime) -> None:
        self.closing_at = closing_at
        super().__init__(f"The workspace closes at {closing_at:%Y-%m-%d %H:%M} UTC.")


class DeletionBegan(Exception):
    """It is too late to reopen the workspace."""


class LastOwner(Exception):
    """Somebody must own the workspace; make another member its owner first."""


class TimeZoneChangePending(Exception):
    """The last change has not taken effect for every period yet; only then can the next one come."""

    def __init__(self, until: datetime) -> None:
        self.until = until
        super().__init__(f"The time zone can be changed again from {until:%Y-%m-%d %H:%M} UTC on.")


def create(name: str, owner: User, origin: Origin = audit.SYSTEM) -> Workspace:
    """A new workspace with its keyring and its owner, in one transaction."""
    workspace = Workspace(name=name)
    with tenancy.writing(workspace.pk):
        workspace.save(force_insert=True)
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
    with tenancy.writing(workspace.pk):
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


def remove_member(membership: Membership, now: datetime, origin: Origin = audit.SYSTEM) -> bool:
    """Take a person's place away and revoke the keys that go with it. A second call changes nothing.

    Raises LastOwner. Service keys stay, also those that the member made.
    """
    with tenancy.writing(membership.workspace_id):
        members = Membership.objects.for_workspace(membership.workspace_id).filter(removed_at__isnull=True)
        if _lock_owners(membership.workspace_id) == [membership.pk]:
            raise LastOwner
        has_left = bool(members.filter(pk=membership.pk).update(removed_at=now))
        if has_left:
            audit.record(
                audit.Event.MEMBER_REMOVED,
                membership.workspace_id,
                ids.public(ids.Prefix.MEMBERSHIP, membership.pk),
                origin,
                revoked_keys=_revoke_keys_of(membership, now, origin),
            )
    return has_left


def _lock_owners(workspace_id: uuid.UUID) -> list[uuid.UUID]:
    """The present owners. Whoever takes places away begins here: one after another, and never the last two at once."""
    owners = Membership.objects.for_workspace(workspace_id).filter(role=Role.OWNER, removed_at__isnull=True)
    return list(owners.order_by("pk").select_for_update(no_key=True).values_list("pk", flat=True))


def _revoke_keys_of(membership: Membership, now: datetime, origin: Origin) -> int:
    keys = ApiKey.objects.for_workspace(membership.workspace_id).filter(membership=membership)
    api_keys.lock(keys)
    # Asked anew: one of them may have made another before it was locked.
    return sum(api_keys.revoke(key, now, origin) for key in keys)


def memberships_of(user: User) -> list[Membership]:
    """The person's places, oldest first; used to choose the workspace of a page."""
    with tenancy.reading(tenancy.EVERY_WORKSPACE):
        active = Membership.objects.across_workspaces().filter(user=user, removed_at__isnull=True)
        return list(active.select_related("workspace").order_by("created_at", "id"))


def rename(workspace_id: uuid.UUID, name: str, origin: Origin = audit.SYSTEM) -> None:
    """The audit keeps that it happened, not the names: it outlives the workspace and holds nothing personal."""
    with tenancy.writing(workspace_id):
        if Workspace.objects.filter(pk=workspace_id).exclude(name=name).update(name=name):
            _record(audit.Event.WORKSPACE_RENAMED, workspace_id, origin)


def close(workspace_id: uuid.UUID, now: datetime, origin: Origin = audit.SYSTEM) -> Workspace:
    """Let everything of the workspace be deleted after the days of grace; a second call keeps the first date.

    Until then it can be read, exported and reopened, and its keys go on; it accepts no jobs.
    """
    with tenancy.writing(workspace_id):
        if Workspace.objects.filter(pk=workspace_id, closing_at=None).update(closing_at=now + GRACE):
            closing_at = (now + GRACE).isoformat()
            _record(audit.Event.WORKSPACE_CLOSED, workspace_id, origin, closing_at=closing_at)
        return Workspace.objects.get(pk=workspace_id)


def reopen(workspace_id: uuid.UUID, now: datetime, origin: Origin = audit.SYSTEM) -> Workspace:
    """Take the closing back; raises DeletionBegan once its date has come. An open workspace stays as it is."""
    with tenancy.writing(workspace_id):
        closing = Workspace.objects.filter(pk=workspace_id, closing_at__isnull=False)
        # One UPDATE that names what it must find, so that of reopening and deleting only one can win.
        if closing.filter(closing_at__gt=now).exclude(name=DELETED).update(closing_at=None):
            _record(audit.Event.WORKSPACE_REOPENED, workspace_id, origin)
        # Asked anew: who found it open may now see a closing of somebody else, which came later and stands.
        elif closing.filter(Q(closing_at__lte=now) | Q(name=DELETED)).exists():
            raise DeletionBegan
        return Workspace.objects.get(pk=workspace_id)


def begin_deletion(workspace_id: uuid.UUID, now: datetime) -> bool:
    """From here on there is no way back: no name, no member, no key that opens. False if it may not be deleted."""
    with tenancy.writing(workspace_id):
        over = Workspace.objects.filter(pk=workspace_id, closing_at__lte=now)
        # Once only: a change of the row makes every process read its keys and limits anew.
        if over.exclude(name=DELETED).update(name=DELETED):
            _lock_owners(workspace_id)
            Membership.objects.for_workspace(workspace_id).filter(removed_at=None).update(removed_at=now)
            live = ApiKey.objects.for_workspace(workspace_id).filter(revoked_at=None)
            api_keys.lock(live)
            live.update(revoked_at=now)
        return over.exists()


def refuse_if_closing(workspace: Workspace) -> None:
    """Whoever accepts jobs asks here first; raises WorkspaceClosing."""
    if workspace.closing_at is not None:
        raise WorkspaceClosing(workspace.closing_at)


def set_time_zone(workspace: Workspace, time_zone: str, now: datetime, origin: Origin = audit.SYSTEM) -> None:
    """Let periods begin by another zone's midnight, once those end that run now; the present zone changes nothing.

    Raises UnknownTimeZone or TimeZoneChangePending.
    """
    periods.zone(time_zone)
    with tenancy.writing(workspace.pk):
        row = Workspace.objects.select_for_update().get(pk=workspace.pk)
        if time_zone == row.time_zone:
            return
        settled_at = periods.settled_at(Schedule.of(row))
        if settled_at is not None and now < settled_at:
            raise TimeZoneChangePending(settled_at)
        Workspace.objects.filter(pk=row.pk).update(
            time_zone=time_zone, earlier_time_zone=row.time_zone, time_zone_changed_at=now
        )
        names = {"time_zone": time_zone, "earlier_time_zone": row.time_zone}
        _record(audit.Event.TIME_ZONE_CHANGED, row.pk, origin, **names)
    workspace.refresh_from_db()


def _record(event: audit.Event, workspace_id: uuid.UUID, origin: Origin, **data: Any) -> None:
    audit.record(event, workspace_id, ids.public(ids.Prefix.WORKSPACE, workspace_id), origin, **data)
