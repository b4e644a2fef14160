"""Deleting rows whose time is over, a batch at a time, so that no clean-up holds locks for long."""

from typing import Any

from django.db.models import QuerySet

BATCH = 1_000


def delete_batch(over: QuerySet[Any]) -> int:
    """Delete up to BATCH of the rows; returns how many went. The next sweep takes the next batch."""
    batch = list(over.values_list("pk", flat=True)[:BATCH])
    over.filter(pk__in=batch).delete()
    return len(batch)
