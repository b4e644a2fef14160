"""One usage row per settled job that delivered something; written in the settling transaction."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from accounts.models import Side
from billing.ledger import Settlement
from billing.models import UsageRecord
from billing.pricing import Quote


@dataclass(frozen=True)
class Consumer:
    """Who used it, as ids that survive the deletion of what they name."""

    workspace_id: uuid.UUID
    side: Side
    api_key_id: uuid.UUID | None
    membership_id: uuid.UUID | None
    end_user_hash: str


@dataclass(frozen=True)
class Quantities:
    """What all delivered images of the job took together."""

    images: int
    pixels: int
    evaluations: int
    gpu_ms: int


def record(
    reference: str,
    consumer: Consumer,
    quoted: Quote,
    used: Quantities,
    settlement: Settlement,
    *,
    accepted_at: datetime,
    created_at: datetime,
) -> UsageRecord:
    """`created_at` is the time that was given to the ledger, so that both count the job on the same day."""
    return UsageRecord.objects.create(
        reference=reference,
        workspace_id=consumer.workspace_id,
        side=consumer.side,
        api_key_id=consumer.api_key_id,
        membership_id=consumer.membership_id,
        end_user_hash=consumer.end_user_hash,
        sku=quoted.sku,
        operation=quoted.operation,
        price_book_version=quoted.price_book_version,
        images=used.images,
        pixels=used.pixels,
        evaluations=used.evaluations,
        gpu_ms=used.gpu_ms,
        credits=settlement.captured_credits,
        revenue_micros=settlement.revenue_micros,
        accepted_at=accepted_at,
        created_at=created_at,
    )
