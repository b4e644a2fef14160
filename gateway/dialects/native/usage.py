"""The usage report: what it accepts, what it answers, as JSON and as CSV."""

import csv
import io
import re
import unicodedata
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.http import HttpResponse, HttpResponseBase, QueryDict
from django.utils.cache import patch_vary_headers
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import clock, ids, keyring, roles, tenancy
from accounts.models import ApiKey, Membership, Scope, Side
from accounts.periods import Schedule
from billing import days, ledger_checks, usage_reports
from billing.usage_reports import MAX_ROWS, Dimension, Filters, Sums, UsageRow
from gateway.api.authentication import caller
from gateway.api.serializers import StrictSerializer, Text
from gateway.api.views import TenantView
from gateway.dialects.native.views import DIALECT
from inference import catalog
from inference.requests import Caller, InvalidRequest

MAX_DAYS = 400
# Wide enough for every bill, and far from where a calendar's arithmetic ends.
FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2100, 12, 31)
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
JSON, CSV = "application/json", "text/csv"

CSV_COLUMNS = {
    Dimension.DAY: ("day",),
    Dimension.MODEL: ("model",),
    Dimension.KEY: ("key_id", "key_name", "key_prefix"),
    Dimension.MEMBER: ("member_id", "member_email"),
    Dimension.END_USER: ("end_user",),
}
SUMS = tuple(asdict(Sums()))
# A spreadsheet takes a cell that begins so for a formula, and would run what somebody named a key.
FORMULA_STARTS = ("=", "+", "-", "@")
# Where a spreadsheet may begin a cell, by the country that it was made for.
CELL_ENDS = re.compile(r"([;\t\r\n])")


# --- What is asked ------------------------------------------------------------------------------


class Day(serializers.DateField):
    def to_internal_value(self, value: Any) -> date:
        day = super().to_internal_value(value) if DAY.fullmatch(str(value)) else None
        if day is None or not FIRST_DAY <= day <= LAST_DAY:
            raise serializers.ValidationError(
                f"Must be a day from {FIRST_DAY} to {LAST_DAY}, written like 2026-03-31."
            )
        return day


@extend_schema_field(OpenApiTypes.STR)
class Dimensions(serializers.Field[list[Dimension], str, str, Any]):
    """Names separated by commas, in any order; none of them asks for the totals alone."""

    def to_internal_value(self, data: Any) -> list[Dimension]:
        names = [name.strip() for name in str(data).split(",") if name.strip()]
        if any(name not in list(Dimension) for name in names):
            raise serializers.ValidationError(f"May name {', '.join(Dimension)}, separated by commas.")
        return [dimension for dimension in Dimension if dimension in names]


@extend_schema_field(OpenApiTypes.STR)
class PublicId(serializers.Field[uuid.UUID, str, str, Any]):
    def __init__(self, prefix: ids.Prefix, **options: Any) -> None:
        super().__init__(**options)
        self.prefix = prefix

    def to_internal_value(self, data: Any) -> uuid.UUID:
        try:
            return ids.parse(self.prefix, str(data))
        except ids.InvalidId:
            raise serializers.ValidationError(f"Must be an id that begins with {self.prefix}_.") from None


class UsageQuerySerializer(StrictSerializer):
    """The query string. A filter on what is not of the workspace finds nothing, as one on what never was."""

    to = Day(required=False, help_text="Last day, included. Default: today.")
    group_by = Dimensions(
        required=False,
        help_text=f"Any of {', '.join(Dimension)}, separated by commas; empty for the totals alone. Default: day.",
    )
    model = Text(
        allow_blank=False,
        help_text="A model's name, which means all its versions, `name@version`, or an alias.",
    )
    key = PublicId(ids.Prefix.KEY, required=False, help_text="An API key's id, `key_...`.")
    member = PublicId(ids.Prefix.MEMBERSHIP, required=False, help_text="A member's id, `mem_...`.")
    end_user = Text(allow_blank=False, help_text="Your own id of the end user, as you sent it in `user`.")
    limit = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=MAX_ROWS,
        help_text="Show only the first rows; the totals are of all.",
    )
    format = serializers.ChoiceField(
        ["json", "csv"],
        required=False,
        help_text="Goes before the `Accept` header, which may ask for text/csv.",
    )

    def get_fields(self) -> dict[str, Any]:
        first = Day(required=False, help_text="First day. Default: the first of the last day's month.")
        return {"from": first, **super().get_fields()}


@dataclass(frozen=True)
class Asked:
    first: date
    last: date
    since: datetime
    until: datetime
    time_zone: str
    group_by: list[Dimension]
    limit: int


def _checked(query: QueryDict) -> dict[str, Any]:
    if twice := [name for name, values in query.lists() if len(values) > 1]:
        raise serializers.ValidationError(dict.fromkeys(twice, "May be given once."))
    body = UsageQuerySerializer(data=query.dict())
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)


def _asked(data: dict[str, Any], schedule: Schedule, now: datetime) -> Asked:
    """The period in days of the workspace's calendar."""
    last = data.get("to") or days.containing(schedule, now).date
    first = data.get("from") or last.replace(day=1)
    if first > last:
        raise InvalidRequest("from", f"is {first}, which is after the last day, {last}.")
    if (length := (last - first).days + 1) > MAX_DAYS:
        raise InvalidRequest("from", f"and `to` are {length} days; one report covers {MAX_DAYS} at most.")
    since, until = days.start_of(schedule, first), days.start_of(schedule, last + timedelta(days=1))
    return Asked(
        first,
        last,
        since,
        until,
        days.zone_name(schedule, days.containing(schedule, until - days.MOMENT)),
        data.get("group_by", [Dimension.DAY]),
        data.get("limit", MAX_ROWS),
    )


def _filters(data: dict[str, Any], who: Caller) -> Filters:
    """What is asked for, of what the caller may see.

    Raises ModelNotFound: the catalogue is everybody's, so that tells nothing of others.
    """
    end_user = data.get("end_user")
    return Filters(
        skus=catalog.skus_of(data["model"]) if "model" in data else None,
        api_key_id=data.get("key"),
        membership_ids=_members(data.get("member"), who),
        end_user_hash=keyring.of(who.workspace_id).end_user(end_user) if end_user else None,
    )


def _members(asked: uuid.UUID | None, who: Caller) -> set[uuid.UUID] | None:
    """Whose use counts; None means everybody's."""
    wanted = None if asked is None else {asked}
    if roles.allows(who.role, roles.Action.SEE_USAGE):
        return wanted
    assert who.membership is not None, "a service key sees all"
    own = {who.membership.pk}
    return own if wanted is None else own & wanted


# --- What is answered ---------------------------------------------------------------------------


class UsageKeySerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    name = serializers.CharField(allow_null=True, help_text="Null when the key was deleted.")
    prefix = serializers.CharField(allow_null=True)


class UsageMemberSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    email = serializers.CharField(allow_null=True, help_text="Null when the member was deleted.")


class SumsSerializer(serializers.Serializer[Any]):
    jobs = serializers.IntegerField(help_text="Jobs that delivered something.")
    images = serializers.IntegerField()
    credits = serializers.IntegerField()
    pixels = serializers.IntegerField()
    evaluations = serializers.IntegerField(help_text="Denoiser evaluations.")
    gpu_ms = serializers.IntegerField()


class UsageRowSerializer(SumsSerializer):
    """One group. It names what the report is grouped by, and null where there was no key, member or end user."""

    day = serializers.DateField(required=False, help_text="A day of the workspace's time zone.")
    model = serializers.CharField(required=False, help_text="A model's version, `name@version`.")
    key = UsageKeySerializer(required=False, allow_null=True)
    member = UsageMemberSerializer(required=False, allow_null=True)
    end_user = serializers.CharField(required=False, allow_null=True, help_text="Our keyed hash of your id.")


class UsageReportSerializer(serializers.Serializer[Any]):
    to = serializers.DateField(help_text="Last day, included.")
    since_at = serializers.DateTimeField(help_text="When the first day begins.")
    until_at = serializers.DateTimeField(help_text="When the last day ends; not included.")
    time_zone = serializers.CharField(help_text="The workspace's zone at the end of the period.")
    group_by = serializers.ListField(child=serializers.ChoiceField([str(one) for one in Dimension]))
    data = UsageRowSerializer(many=True)  # type: ignore[assignment]
    has_more = serializers.BooleanField(help_text="Whether `limit` left rows out.")
    totals = SumsSerializer(help_text="Of all rows.")
    ledger_credits = serializers.IntegerField(
        allow_null=True,
        help_text="What the ledger captured in the period, always equal to the total; null where the report does "
        "not cover the whole workspace.",
    )

    def get_fields(self) -> dict[str, Any]:
        return {"from": serializers.DateField(help_text="First day."), **super().get_fields()}


@dataclass(frozen=True)
class Names:
    """What is still known of the keys and members of a report."""

    keys: dict[uuid.UUID, ApiKey]
    members: dict[uuid.UUID, Membership]

    def draw_key(self, key_id: uuid.UUID | None) -> dict[str, str | None] | None:
        if key_id is None:
            return None
        key = self.keys.get(key_id)
        known = {"name": key.name, "prefix": key.prefix} if key else {"name": None, "prefix": None}
        return {"id": ids.public(ids.Prefix.KEY, key_id), **known}

    def draw_member(self, member_id: uuid.UUID | None) -> dict[str, str | None] | None:
        if member_id is None:
            return None
        member = self.members.get(member_id)
        public_id = ids.public(ids.Prefix.MEMBERSHIP, member_id)
        return {"id": public_id, "email": member.user.email if member else None}


@dataclass(frozen=True)
class Found:
    """A report; `has_more` and `totals` tell of the rows that are not shown."""

    rows: list[UsageRow]
    has_more: bool
    totals: Sums
    ledger_credits: int | None
    names: Names


def _names(workspace_id: uuid.UUID, rows: Iterable[UsageRow]) -> Names:
    key_ids = {row.api_key_id for row in rows if row.api_key_id}
    member_ids = {row.membership_id for row in rows if row.membership_id}
    members = Membership.objects.for_workspace(workspace_id).select_related("user")
    keys = ApiKey.objects.for_workspace(workspace_id)
    return Names(keys.in_bulk(key_ids), members.in_bulk(member_ids))


def _draw(asked: Asked, found: Found) -> dict[str, Any]:
    return {
        "from": asked.first,
        "to": asked.last,
        "since_at": asked.since,
        "until_at": asked.until,
        "time_zone": asked.time_zone,
        "group_by": asked.group_by,
        "data": [_draw_row(row, asked.group_by, found.names) for row in found.rows],
        "has_more": found.has_more,
        "totals": asdict(found.totals),
        "ledger_credits": found.ledger_credits,
    }


def _draw_row(row: UsageRow, group_by: Sequence[Dimension], names: Names) -> dict[str, Any]:
    group = {
        Dimension.DAY: row.day and str(row.day),
        Dimension.MODEL: row.sku,
        Dimension.KEY: names.draw_key(row.api_key_id),
        Dimension.MEMBER: names.draw_member(row.membership_id),
        Dimension.END_USER: row.end_user_hash or None,
    }
    return {**{str(dimension): group[dimension] for dimension in group_by}, **asdict(row.sums)}


def _draw_csv(asked: Asked, found: Found) -> HttpResponse:
    """RFC 4180 with a header row; the same numbers as in JSON."""
    columns = [column for dimension in asked.group_by for column in CSV_COLUMNS[dimension]]
    text = io.StringIO()
    writer = csv.DictWriter(
        text, [*columns, *SUMS], restval="", lineterminator="\r\n", quoting=csv.QUOTE_NONNUMERIC
    )
    writer.writeheader()
    writer.writerows(_flat(_draw_row(row, asked.group_by, found.names)) for row in found.rows)
    name = f"usage-{asked.first}-to-{asked.last}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(text.getvalue(), content_type=f"{CSV}; charset=utf-8", headers=headers)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            cells |= {f"{name}_{part}": _defused(cell) for part, cell in value.items()}
        elif value is not None:
            cells[name] = _defused(value)
    return cells


def _defused(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    parts = CELL_ENDS.split(cell)
    return "".join(f"'{part}" if _is_formula(part) else part for part in parts)


def _is_formula(text: str) -> bool:
    """Also with wide letters, or behind blanks and characters that nobody sees: some programs look through both."""
    plain = unicodedata.normalize("NFKC", text)
    first = next((letter for letter in plain if unicodedata.category(letter)[0] not in "CZM"), "")
    return first in FORMULA_STARTS


# --- The view -----------------------------------------------------------------------------------


class UsageView(TenantView):
    scope = Scope.USAGE
    is_one_transaction = (
        False  # rows and ledger are read at one moment, in a transaction that begins with that
    )

    @extend_schema(
        operation_id="usage",
        parameters=[UsageQuerySerializer],
        responses={(200, JSON): UsageReportSerializer, (200, CSV): OpenApiTypes.STR},
    )
    def get(self, request: Request) -> HttpResponseBase:
        """What was used and what it cost, by day, model, key, member and end user. Members see their own."""
        who = caller(request, DIALECT)
        if not roles.allows(who.role, roles.Action.SEE_USAGE):
            roles.require(who.role, roles.Action.SEE_OWN_USAGE)
        data = _checked(request.query_params)
        with tenancy.reading(who.workspace_id):
            filters = _filters(data, who)
            asked = _asked(data, days.schedule_of(who.workspace_id), clock.now())
        found = _find(who, asked, filters)
        response = _draw_csv(asked, found) if _wants_csv(request, data) else Response(_draw(asked, found))
        patch_vary_headers(response, ["Accept"])
        return response


def _wants_csv(request: Request, data: dict[str, Any]) -> bool:
    if "format" in data:
        return bool(data["format"] == "csv")
    return request._request.get_preferred_type([JSON, CSV]) == CSV


def _find(who: Caller, asked: Asked, filters: Filters) -> Found:
    """Everything at one moment of the database, so that work going on meanwhile makes no difference to the sums."""
    period = (who.workspace_id, Side(who.side), asked.since, asked.until)
    with ledger_checks.snapshot(), tenancy.reading(who.workspace_id):
        rows = usage_reports.report(*period, asked.group_by, filters)
        shown = rows[: asked.limit]
        return Found(
            shown,
            has_more=len(rows) > len(shown),
            totals=Sums.of(row.sums for row in rows),
            ledger_credits=usage_reports.ledger_total(*period) if filters == Filters() else None,
            names=_names(who.workspace_id, shown),
        )
