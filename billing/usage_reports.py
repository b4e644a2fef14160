"""What was used, summed up by any of five dimensions. All sums are the database's, over usage rows alone.

A job counts when it was settled, which is also when the ledger captured its credits: so the credits of a report over
a whole workspace are those of `ledger_total`, whatever the time and however they are grouped.
"""

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import astuple, dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Self

from django.db.models import Case, Count, Expression, IntegerField, QuerySet, Sum, Value, When

from accounts.models import Side
from billing import days
from billing.days import Day
from billing.models import Account, Entry, OperationKind, UsageRecord

MAX_ROWS = 10_000


class TooManyRows(Exception):
    """The report would have more rows than anybody gets at once."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"The report has more than {limit} rows.")


class Dimension(StrEnum):
    """What a report can be grouped by; rows are sorted in this order."""

    DAY = "day"
    MODEL = "model"
    KEY = "key"
    MEMBER = "member"
    END_USER = "end_user"


COLUMNS = {
    Dimension.DAY: "ordinal",
    Dimension.MODEL: "sku",
    Dimension.KEY: "api_key_id",
    Dimension.MEMBER: "membership_id",
    Dimension.END_USER: "end_user_hash",
}


@dataclass(frozen=True)
class Filters:
    """Only what fits all of these; None asks for nothing."""

    skus: Collection[str] | None = None
    api_key_id: uuid.UUID | None = None
    membership_ids: Collection[uuid.UUID] | None = None
    end_user_hash: str | None = None


@dataclass(frozen=True)
class Sums:
    jobs: int = 0
    images: int = 0
    credits: int = 0
    pixels: int = 0
    evaluations: int = 0
    gpu_ms: int = 0

    @classmethod
    def of(cls, parts: "Iterable[Sums]") -> Self:
        columns = zip(*(astuple(part) for part in parts), strict=True)
        return cls(*(sum(column) for column in columns))


AGGREGATES = {
    "sum_jobs": Count("pk"),
    "sum_images": Sum("images"),
    "sum_credits": Sum("credits"),
    "sum_pixels": Sum("pixels"),
    "sum_evaluations": Sum("evaluations"),
    "sum_gpu_ms": Sum("gpu_ms"),
}


@dataclass(frozen=True)
class UsageRow:
    """The sums of one group. What was not grouped by is None, and so is a key or member that there was none."""

    sums: Sums
    day: date | None = None
    sku: str | None = None
    api_key_id: uuid.UUID | None = None
    membership_id: uuid.UUID | None = None
    end_user_hash: str | None = None

    @property
    def order(self) -> tuple[Any, ...]:
        """Ours, because two databases sort texts and nulls differently."""
        group = (self.day, self.sku, self.api_key_id, self.membership_id, self.end_user_hash)
        return tuple((part is None, "" if part is None else str(part)) for part in group)


def report(
    workspace_id: uuid.UUID,
    side: Side,
    since: datetime,
    until: datetime,
    group_by: Collection[Dimension] = (),
    filters: Filters = Filters(),
) -> list[UsageRow]:
    """Groups that used something, sorted; `until` is not included. Raises TooManyRows."""
    rows = _matching(workspace_id, side, filters).filter(created_at__gte=since, created_at__lt=until)
    if Dimension.DAY in group_by:
        calendar = days.between(days.schedule_of(workspace_id), since, until)
        rows = rows.annotate(ordinal=_ordinal(calendar))
    # Sums over nothing are a row too where the database groups by no column, as in a report of one day by day.
    found = [row for row in map(_row, _groups(rows, group_by)) if row.sums.jobs]
    return sorted(found, key=lambda row: row.order)


def ledger_total(workspace_id: uuid.UUID, side: Side, since: datetime, until: datetime) -> int:
    """Credits that the ledger captured for jobs; `until` is not included."""
    captured = Entry.objects.for_workspace(workspace_id).filter(
        side=side,
        account=Account.REVENUE,
        operation__kind=OperationKind.SETTLE,
        operation__created_at__gte=since,
        operation__created_at__lt=until,
    )
    return int(captured.aggregate(total=Sum("amount_credits", default=0))["total"])


def _groups(rows: QuerySet[UsageRecord], group_by: Collection[Dimension]) -> list[dict[str, Any]]:
    if not group_by:
        return [rows.aggregate(**AGGREGATES)]
    grouped = rows.values(*(COLUMNS[dimension] for dimension in group_by)).annotate(**AGGREGATES)
    found = list(grouped.order_by()[: MAX_ROWS + 1])
    if len(found) > MAX_ROWS:
        raise TooManyRows(MAX_ROWS)
    return found


def _matching(workspace_id: uuid.UUID, side: Side, filters: Filters) -> QuerySet[UsageRecord]:
    rows = UsageRecord.objects.for_workspace(workspace_id).filter(side=side)
    if filters.skus is not None:
        rows = rows.filter(sku__in=filters.skus)
    if filters.api_key_id is not None:
        rows = rows.filter(api_key_id=filters.api_key_id)
    if filters.membership_ids is not None:
        rows = rows.filter(membership_id__in=filters.membership_ids)
    if filters.end_user_hash is not None:
        rows = rows.filter(end_user_hash=filters.end_user_hash)
    return rows


def _ordinal(calendar: Sequence[Day]) -> Expression:
    """The date of a row's day as a number.

    The database only compares with bounds that we computed, so it needs to know nothing of time zones; it halves
    the days, so a row of a year's report costs nine comparisons.
    """
    if len(calendar) == 1:
        return Value(calendar[0].date.toordinal(), output_field=IntegerField())
    middle = len(calendar) // 2
    is_earlier = When(created_at__lt=calendar[middle].start, then=_ordinal(calendar[:middle]))
    return Case(is_earlier, default=_ordinal(calendar[middle:]))


def _row(group: dict[str, Any]) -> UsageRow:
    return UsageRow(
        sums=_sums(group),
        day=date.fromordinal(group["ordinal"]) if "ordinal" in group else None,
        sku=group.get("sku"),
        api_key_id=group.get("api_key_id"),
        membership_id=group.get("membership_id"),
        end_user_hash=group.get("end_user_hash"),
    )


def _sums(found: dict[str, Any]) -> Sums:
    return Sums(*(found[name] or 0 for name in AGGREGATES))
