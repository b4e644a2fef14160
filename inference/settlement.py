"""What a job's end means for credits and quotas: charge what was delivered, return the rest, write the usage row.

Called by `jobs` inside the ending transaction; the hold's single resolution is the ledger's promise.
"""

from datetime import datetime

from accounts.models import Side
from billing import ledger, pricing, usage
from billing.models import PriceUnit
from billing.pricing import Quote
from inference import quotas
from inference.models import Job


def charge(job: Job, delivered: int, gpu_ms: int, drawn: int) -> int:
    """Credits for the delivered images, when the engine spent `gpu_ms` on drawing `drawn` of them."""
    return pricing.used_credits_per_image(_quote(job), gpu_ms, drawn) * delivered


def capture(job: Job, delivered: int, credits: int, gpu_ms: int, now: datetime) -> None:
    settled = ledger.capture(job.hold_id, credits, _operation_id(job), now)
    quotas.give_back(job, job.num_images - delivered, settled.released_credits)
    if delivered:
        used = usage.Quantities(
            images=delivered,
            pixels=job.width * job.height * delivered,
            evaluations=job.evaluations_per_image * delivered,
            gpu_ms=gpu_ms,
        )
        usage.record(
            job.public_id,
            _consumer(job),
            _quote(job),
            used,
            settled,
            accepted_at=job.created_at,
            created_at=now,
        )


def release(job: Job, now: datetime) -> None:
    settled = ledger.release(job.hold_id, _operation_id(job), now)
    quotas.give_back(job, job.num_images, settled.released_credits)


def _operation_id(job: Job) -> str:
    return f"settle:{job.public_id}"


def _quote(job: Job) -> Quote:
    """The quote that was accepted, from the job's own columns."""
    return Quote(
        sku=job.model_version.sku,
        operation=job.operation,
        price_book_version=job.price_book_version or 0,
        unit=PriceUnit(job.price_unit),
        credits_per_image=job.credits_per_image,
        num_images=job.num_images,
    )


def _consumer(job: Job) -> usage.Consumer:
    return usage.Consumer(
        job.workspace_id, Side(job.side), job.api_key_id, job.membership_id, job.end_user_hash
    )
