"""Limits per workspace that everybody reads; plans will write them, staff may override them."""

import uuid
from dataclasses import dataclass, fields

from django.conf import settings
from django.db.models import Q

from accounts import tenancy
from accounts.lookups import Lookup, Topic
from accounts.models import Entitlements

DEFAULT_CONCURRENT_JOBS = 100
DEFAULT_REQUESTS_PER_MINUTE = 600
DEFAULT_POLLS_PER_MINUTE = 3_000


@dataclass(frozen=True)
class Limits:
    """What one workspace may do and how long its things are kept. Retention in days; 0 keeps pictures and jobs."""

    concurrent_jobs: int
    requests_per_minute: int  # calls that make, change or delete something
    polls_per_minute: int  # calls that read
    content_retention_days: int
    picture_retention_days: int
    job_retention_days: int


def _defaults() -> Limits:
    return Limits(
        concurrent_jobs=DEFAULT_CONCURRENT_JOBS,
        requests_per_minute=DEFAULT_REQUESTS_PER_MINUTE,
        polls_per_minute=DEFAULT_POLLS_PER_MINUTE,
        content_retention_days=settings.CONTENT_RETENTION_DAYS,
        picture_retention_days=settings.PICTURE_RETENTION_DAYS,
        job_retention_days=settings.JOB_RETENTION_DAYS,
    )


def _load(workspace_id: uuid.UUID) -> Limits:
    with tenancy.reading(workspace_id):
        row = Entitlements.objects.filter(workspace_id=workspace_id).first() or Entitlements()
    defaults = _defaults()
    own = {one.name: getattr(row, one.name) for one in fields(Limits)}
    return Limits(
        **{name: getattr(defaults, name) if value is None else value for name, value in own.items()}
    )


_kept = Lookup(Topic.LIMITS, _load)


def of(workspace_id: uuid.UUID) -> Limits:
    return _kept(workspace_id)


def by_value(limit: str) -> dict[int, Q]:
    """Which rows belong to workspaces with which value of the limit: few values, however many workspaces."""
    own = Entitlements.objects.filter(**{f"{limit}__isnull": False})
    values = own.values_list(limit, flat=True).distinct().order_by(limit)
    found = {value: Q(workspace__in=own.filter(**{limit: value}).values("workspace")) for value in values}
    default = getattr(_defaults(), limit)
    found[default] = found.get(default, Q()) | ~Q(workspace__in=own.values("workspace"))
    return found
