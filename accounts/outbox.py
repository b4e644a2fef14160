"""One table of things to do outside the database; `put` belongs in the transaction of the change.

A publisher takes waiting messages in turns of workspaces, marks them published, and whoever does the work calls
`done`. A message that was published and never done is put back by `requeue_stale`, so a lost broker loses nothing.
"""

import uuid
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.db.models import F, Q, Window
from django.db.models.functions import RowNumber

from accounts.inserts import insert
from accounts.models import OutboxMessage


class Topic(StrEnum):
    JOB_QUEUED = "job.queued"
    EMAIL = "email"


def put(
    topic: Topic,
    key: str,
    payload: dict[str, Any],
    *,
    workspace_id: uuid.UUID,
    partition: str = "",
    rank: int = 0,
    not_before_at: datetime | None = None,
) -> None:
    """Write a message; within a workspace a lower rank goes first. `not_before_at` holds it back until then."""
    insert(
        OutboxMessage(
            topic=topic,
            key=key,
            payload=payload,
            workspace_id=workspace_id,
            partition=partition,
            rank=rank,
            not_before_at=not_before_at,
        )
    )


def done(topic: Topic, key: str) -> None:
    OutboxMessage.objects.filter(topic=topic, key=key).delete()


def forget(workspace_id: uuid.UUID) -> int:
    """Drop everything that was to happen for a workspace; returns how many messages."""
    return OutboxMessage.objects.filter(workspace_id=workspace_id).delete()[0]


def published_count(topic: Topic, partition: str) -> int:
    """Messages on their way: published and not yet done."""
    return OutboxMessage.objects.filter(topic=topic, partition=partition, published_at__isnull=False).count()


def waiting_partitions(topic: Topic) -> list[str]:
    waiting = OutboxMessage.objects.filter(topic=topic, published_at__isnull=True)
    return list(waiting.values_list("partition", flat=True).distinct().order_by("partition"))


def next_in_turn(topic: Topic, partition: str, limit: int, now: datetime) -> list[OutboxMessage]:
    """Up to `limit` waiting messages: the first of every workspace, then the second of every one, and so on.

    Within a workspace the lower rank goes first, then the older message.
    """
    turn = Window(RowNumber(), partition_by=F("workspace_id"), order_by=[F("rank").asc(), F("id").asc()])
    waiting = OutboxMessage.objects.filter(topic=topic, partition=partition, published_at__isnull=True)
    waiting = waiting.filter(Q(not_before_at__isnull=True) | Q(not_before_at__lte=now))
    return list(waiting.annotate(turn=turn).order_by("turn", "rank", "id")[:limit])


def mark_published(messages: Iterable[OutboxMessage], now: datetime) -> None:
    OutboxMessage.objects.filter(pk__in=[message.pk for message in messages]).update(published_at=now)


def stale_partitions(topic: Topic, published_before: datetime) -> list[str]:
    """Partitions with messages that were published long ago and are not done."""
    stale = OutboxMessage.objects.filter(topic=topic, published_at__lt=published_before)
    return list(stale.values_list("partition", flat=True).distinct())


def requeue_stale(topic: Topic, published_before: datetime, partitions: Iterable[str] | None = None) -> int:
    """Put back what was published before that time and never done, of all partitions or some; returns how many."""
    stale = OutboxMessage.objects.filter(topic=topic, published_at__lt=published_before)
    if partitions is not None:
        stale = stale.filter(partition__in=partitions)
    return stale.update(published_at=None)
