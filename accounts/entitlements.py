"""Limits per workspace that everybody reads; plans will write them, staff may override them."""

import uuid
from dataclasses import dataclass

from django.conf import settings

from accounts.models import Entitlements


@dataclass(frozen=True)
class Limits:
    concurrent_jobs: int
    content_retention_days: int


DEFAULT_CONCURRENT_JOBS = 100


def of(workspace_id: uuid.UUID) -> Limits:
    row = Entitlements.objects.filter(workspace_id=workspace_id).first() or Entitlements()
    return Limits(
        concurrent_jobs=DEFAULT_CONCURRENT_JOBS if row.concurrent_jobs is None else row.concurrent_jobs,
        content_retention_days=(
            settings.CONTENT_RETENTION_DAYS
            if row.content_retention_days is None
            else row.content_retention_days
        ),
    )
