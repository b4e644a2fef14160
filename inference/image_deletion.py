"""Deleting pictures: hidden first, the bytes after. Whoever dies in between leaves what the next sweep finishes.

1. `deleted_at`: nobody sees the picture any more, and no signed address opens it.
2. The bytes go from the storage; a storage that fails is asked again at the next sweep.
3. `bytes_deleted_at`: nothing is left to do. The row stays as long as its job, which was charged for it.
"""

import uuid
from datetime import datetime

import structlog

from accounts import audit, ids, roles, tenancy
from accounts.tenancy import EVERY_WORKSPACE
from inference import jobs, retention, storage
from inference.models import Image
from inference.requests import Caller
from inference.storage import StorageFailed

log = structlog.get_logger(__name__)


class ImageNotFound(Exception):
    """The caller has no such image, or no longer; whether somebody else has is not said."""


def delete(caller: Caller, image_id: uuid.UUID) -> None:
    """Delete a picture that the caller may see; raises RoleForbids or ImageNotFound."""
    roles.require(caller.role, roles.Action.GENERATE)
    with tenancy.writing(caller.workspace_id) as now:
        mine = Image.objects.for_workspace(caller.workspace_id).filter(
            pk=image_id, job__in=jobs.visible_to(caller).values("pk")
        )
        if not mine.filter(deleted_at__isnull=True).update(deleted_at=now):
            raise ImageNotFound
        target = ids.public(ids.Prefix.IMAGE, image_id)
        audit.record(audit.Event.IMAGE_DELETED, caller.workspace_id, target, caller.origin)


def hide_old(now: datetime) -> int:
    """Hide up to a batch of pictures that are as old as their workspace keeps them; returns how many."""
    shown = Image.objects.across_workspaces().filter(deleted_at__isnull=True)
    with tenancy.writing(EVERY_WORKSPACE):
        over = shown.filter(retention.over_age("created_at", "picture_retention_days", now))
        batch = list(over.order_by("created_at").values_list("pk", flat=True)[: retention.BATCH])
        return shown.filter(pk__in=batch).update(deleted_at=now)


def erase_hidden(now: datetime) -> int:
    """Delete the bytes of hidden pictures for a while; returns how many went.

    In no order, so that pictures which the storage does not let go never stand in front of the others.
    """
    hidden = Image.objects.across_workspaces().filter(deleted_at__isnull=False, bytes_deleted_at__isnull=True)
    with tenancy.reading(EVERY_WORKSPACE):
        batch = list(hidden.order_by("?")[: retention.BATCH])
    erased = [image.pk for image in retention.for_a_while(batch) if _erase(image)]
    with tenancy.writing(EVERY_WORKSPACE):
        return hidden.filter(pk__in=erased).update(bytes_deleted_at=now)


def _erase(image: Image) -> bool:
    try:
        storage.erase(image.storage_key)
    except StorageFailed as error:
        log.error("picture not deleted", image_id=image.public_id, reason=str(error))
        return False
    return True
