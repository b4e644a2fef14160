"""Pages of long lists by cursor, and ids from addresses."""

import re
import uuid
from dataclasses import dataclass

from django.db.models import QuerySet
from django.http import Http404
from rest_framework.request import Request

from accounts import ids
from inference.models import Job
from inference.requests import InvalidRequest

DEFAULT_LIMIT, MAX_LIMIT = 20, 100
LIMIT = re.compile(r"[1-9][0-9]{0,2}")


@dataclass(frozen=True)
class Page:
    rows: list[Job]
    has_more: bool


def newest_first(rows: QuerySet[Job], request: Request) -> Page:
    """One page by `limit` and `after`. Ids sort by time, so the id is the cursor and new jobs shift nothing."""
    limit = _limit(request.query_params.get("limit", ""))
    if after := request.query_params.get("after"):
        rows = rows.filter(pk__lt=parse_id(ids.Prefix.JOB, after))
    found = list(rows.order_by("-pk")[: limit + 1])
    return Page(found[:limit], len(found) > limit)


def _limit(text: str) -> int:
    if not text:
        return DEFAULT_LIMIT
    if not LIMIT.fullmatch(text) or int(text) > MAX_LIMIT:
        raise InvalidRequest("limit", f"must be between 1 and {MAX_LIMIT}.")
    return int(text)


def parse_id(prefix: ids.Prefix, text: str) -> uuid.UUID:
    """The id in an address; one that cannot exist is as absent as one that does not."""
    try:
        return ids.parse(prefix, text)
    except ids.InvalidId:
        raise Http404 from None
