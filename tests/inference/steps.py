"""What a test does to a job, in short form."""

from typing import Any

from accounts.models import OutboxMessage, Side, Workspace
from billing import ledger
from billing.models import Operation as Posting
from billing.models import OperationKind, UsageRecord
from inference import jobs, reconciliation, storage
from inference.attempts import Claim, StoredPicture, Timings
from inference.models import Job
from inference.requests import Operation, ResolvedRequest
from tests import factories

TIMINGS = Timings(generate_ms=40, gpu_ms=30, store_ms=5)


def judge(settings: Any, **options: Any) -> None:
    """Moderate by the shipped fake; it also spares a test the reading of all rules."""
    settings.ATELIER_MODERATION = {
        "BACKEND": "inference.moderation.fake.FakeModeration",
        "OPTIONS": options,
    }


def fresh(job: Job) -> Job:
    return Job.objects.across_workspaces().select_related("model_version").get(pk=job.pk)


def change(job: Job, **fields: Any) -> None:
    """Age or damage a row, as no function of the product does."""
    Job.objects.across_workspaces().filter(pk=job.pk).update(**fields)


def claim(job: Job, worker: str = factories.WORKER) -> Claim:
    mine = jobs.claim(job.pk, worker)
    assert mine is not None, "the job can be claimed"
    return mine


def stored(mine: Claim, count: int = 1) -> list[StoredPicture]:
    """Pictures of the attempt whose bytes really are in the storage."""
    pictures = []
    for index in range(count):
        key = storage.key_of(mine.job, mine.attempt, index, "png")
        pictures.append(StoredPicture(index, key, storage.save(key, b"a picture"), 9, "image/png"))
    return pictures


def available(workspace: Workspace, side: Side = Side.LIVE) -> int:
    return ledger.balance(workspace.pk, side).available_credits


def held(workspace: Workspace) -> int:
    return ledger.balance(workspace.pk).held_credits


def settlements_of(job: Job) -> list[int]:
    """Captured credits of each operation that ended the job's hold."""
    rows = Posting.objects.for_workspace(job.workspace_id)
    ends = rows.filter(kind=OperationKind.SETTLE, resolves__operation_id=job.hold_id)
    return list(ends.values_list("amount_credits", flat=True))


def usage_of(job: Job) -> UsageRecord:
    return UsageRecord.objects.for_workspace(job.workspace_id).get(reference=job.public_id)


def queued_messages() -> list[str]:
    """Public ids of the jobs in the outbox, in the order they came."""
    return list(OutboxMessage.objects.order_by("id").values_list("key", flat=True))


def discrepancies() -> list[str]:
    return [str(found) for found in (*ledger.verify(), *reconciliation.verify())]


def resolved(**fields: Any) -> ResolvedRequest:
    """What an engine is asked to draw."""
    defaults: dict[str, Any] = {
        "prompt": "a red boat",
        "negative_prompt": "",
        "operation": Operation.TEXT_TO_IMAGE,
        "width": 64,
        "height": 64,
        "num_images": 1,
        "num_inference_steps": 4,
        "guidance_scale": 4.0,
        "seed": 7,
        "scheduler": "ddim",
    }
    return ResolvedRequest(**{**defaults, **fields})
