"""Pages of long lists by cursor, and ids from addresses."""

import re
import uuid
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.db.models import Model, QuerySet
from django.http import Http404
from rest_framework.request import Request

from accounts import ids
from inference.requests import InvalidRequest

Row = TypeVar("Row", bound=Model)

DEFAULT_LIMIT, MAX_LIMIT = 20, 100
LIMIT = re.compile(r"[1-9][0-9]{0,2}")


@dataclass(frozen=True)
class Page(Generic[Row]):
    rows: list[Row]
    has_more: bool


def newest_first(rows: QuerySet[Row], request: Request, prefix: ids.Prefix = ids.Prefix.JOB) -> Page[Row]:
    """One page by `limit` and `after`. Ids sort by time, so the id is the cursor and new rows shift nothing."""
    limit = _limit(request.query_params.get("limit", ""))
    if after := request.query_params.get("after"):
        rows = rows.filter(pk__lt=_cursor(prefix, after))
    found = list(rows.order_by("-pk")[: limit + 1])
    return Page(found[:limit], len(found) > limit)


def _limit(text: str) -> int:
    if not text:
        return DEFAULT_LIMIT
    if not LIMIT.fullmatch(text) or int(text) > MAX_LIMIT:
        raise InvalidRequest("limit", f"must be between 1 and {MAX_LIMIT}.")
    return int(text)


def _cursor(prefix: ids.Prefix, text: str) -> uuid.UUID:
    try:
        return ids.parse(prefix, text)
    except ids.InvalidId:
        raise InvalidRequest("after", f"must be an id that begins with {prefix}_.") from None


def parse_id(prefix: ids.Prefix, text: str) -> uuid.UUID:
    """The id in an address; one that cannot exist is as absent as one that does not."""
    try:
        return ids.parse(prefix, text)
    except ids.InvalidId:
        raise Http404 from None
