"""Publishes queued jobs: at most three times a model's capacity ahead, workspaces in turns.

The outbox is the list of what is queued. A message is published, then the job is claimed and the message is gone,
which makes room for the next. Dying between publishing and marking publishes twice, which a claim makes harmless.
"""

import uuid
from datetime import datetime

import structlog

from accounts import clock, outbox
from accounts.outbox import Topic
from inference import dispatch

log = structlog.get_logger(__name__)

PUBLISH_AHEAD = 3


def run_once(now: datetime | None = None) -> int:
    """Fill every model's publish window; returns how many jobs were published."""
    at = now or clock.now()
    return sum(_fill(model, at) for model in outbox.waiting_partitions(Topic.JOB_QUEUED))


def _fill(model: str, now: datetime) -> int:
    to = dispatch.get()
    room = PUBLISH_AHEAD * to.capacity(model) - outbox.published_count(Topic.JOB_QUEUED, model)
    if room <= 0:
        return 0
    messages = outbox.next_in_turn(Topic.JOB_QUEUED, model, room, now)
    published = []
    for message in messages:
        try:
            to.publish(model, _job_id(message.payload))
        except Exception as error:  # any broker fault: the rest stays waiting for the next turn
            log.warning("publishing failed", model=model, error=type(error).__name__)
            break
        published.append(message)
    outbox.mark_published(published, now)
    return len(published)


def _job_id(payload: dict[str, str]) -> uuid.UUID:
    return uuid.UUID(payload["job_id"])
