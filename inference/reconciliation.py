"""Job, hold and picture against each other: what the ledger alone cannot see. Reports, never mends."""

import hashlib
import uuid
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum

from accounts import ids
from billing.ledger_checks import Discrepancy
from billing.models import Operation, OperationKind
from inference import storage
from inference.models import Image, Job, State
from inference.storage import StorageFailed

CHUNK = 2_000


class Kind(StrEnum):
    OPEN_HOLD_OF_ENDED_JOB = "job ended and its hold is open"
    NO_HOLD = "job is unfinished and has no open hold"
    WRONG_HOLD = "hold differs from what the job was quoted"
    HOLD_WITHOUT_JOB = "open hold of a job that does not exist"
    WRONG_CHARGE = "captured credits differ from the delivered images"
    PICTURE_MISSING = "picture has no readable bytes"
    PICTURE_CHANGED = "picture's bytes differ from their recorded hash"


def verify() -> list[Discrepancy]:
    return verify_jobs() + verify_pictures()


def verify_jobs() -> list[Discrepancy]:
    """Jobs and holds against each other."""
    return [*_holds_and_jobs(), *_orphan_holds()]


def verify_pictures() -> list[Discrepancy]:
    """Reads every stored picture and compares its hash."""
    return list(_pictures())


def _holds_and_jobs() -> Iterator[Discrepancy]:
    jobs = Job.objects.across_workspaces()
    last = uuid.UUID(int=0)
    while chunk := list(jobs.filter(pk__gt=last).order_by("pk")[:CHUNK]):
        last = chunk[-1].pk
        holds = Operation.objects.across_workspaces().filter(operation_id__in=[job.hold_id for job in chunk])
        by_id = {hold.operation_id: hold for hold in holds.select_related("resolution")}
        images = Image.objects.across_workspaces().filter(job__in=chunk)
        delivered = Counter(images.values_list("job_id", flat=True))
        for job in chunk:
            yield from _check_job(job, by_id.get(job.hold_id), delivered[job.pk])


def _check_job(job: Job, hold: Operation | None, delivered: int) -> Iterator[Discrepancy]:
    resolution = getattr(hold, "resolution", None)
    is_open = hold is not None and resolution is None
    if State(job.state).is_terminal and is_open:
        yield Discrepancy(Kind.OPEN_HOLD_OF_ENDED_JOB, job.public_id, job.state)
    if not State(job.state).is_terminal and not is_open:
        yield Discrepancy(Kind.NO_HOLD, job.public_id, job.state)
    if hold is not None and _promise(hold) != _need(job):
        yield Discrepancy(Kind.WRONG_HOLD, job.public_id, f"held {_promise(hold)}, job needs {_need(job)}")
    captured = resolution.amount_credits if resolution else 0
    # By the second, a picture may cost less than was quoted, never more; the other units are exact.
    most = job.credits_per_image * delivered
    is_wrong = captured > most if job.price_unit == "per_second" else captured != most
    if is_wrong or captured != job.captured_credits:
        price = f"{delivered} images at {job.credits_per_image}"
        detail = f"captured {captured}, job says {job.captured_credits}, {price}"
        yield Discrepancy(Kind.WRONG_CHARGE, job.public_id, detail)


def _promise(hold: Operation) -> tuple[str, str, int]:
    return str(hold.workspace_id), hold.side, hold.amount_credits


def _need(job: Job) -> tuple[str, str, int]:
    return str(job.workspace_id), job.side, job.credits_per_image * job.num_images


def _orphan_holds() -> Iterator[Discrepancy]:
    open_holds = Operation.objects.across_workspaces().filter(
        kind=OperationKind.HOLD, resolution__isnull=True
    )
    for hold in open_holds.iterator():
        job = _job_of(hold)
        if job is None or job.hold_id != hold.operation_id:
            yield Discrepancy(Kind.HOLD_WITHOUT_JOB, hold.operation_id, f"{hold.amount_credits} credits")


def _job_of(hold: Operation) -> Job | None:
    try:
        job_id = ids.parse(ids.Prefix.JOB, hold.reference)
    except ids.InvalidId:
        return None
    return Job.objects.for_workspace(hold.workspace_id).filter(pk=job_id).first()


def _pictures() -> Iterator[Discrepancy]:
    for image in Image.objects.across_workspaces().filter(deleted_at__isnull=True).iterator():
        try:
            content = storage.read(image.storage_key)
        except StorageFailed as error:
            if _is_shown(image):
                yield Discrepancy(Kind.PICTURE_MISSING, image.public_id, str(error))
            continue
        if hashlib.sha256(content).hexdigest() != image.sha256:
            yield Discrepancy(Kind.PICTURE_CHANGED, image.public_id, f"{len(content)} bytes")


def _is_shown(image: Image) -> bool:
    """Asked again: while so many pictures are read, some are deleted."""
    rows = Image.objects.for_workspace(image.workspace_id)
    return rows.filter(pk=image.pk, deleted_at__isnull=True).exists()
