"""What the request's middleware knows and later parts add: the id, headers, and what the log line will say."""

import uuid
from dataclasses import dataclass, field

from django.http import HttpRequest
from rest_framework.request import Request

PLACE = "atelier.context"


@dataclass
class RequestContext:
    request_id: str
    problem_code: str | None = None
    log_fields: dict[str, str | float] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)  # of the answer, whoever draws it


def begin(request: HttpRequest, request_id: str) -> RequestContext:
    context = RequestContext(request_id)
    request.META[PLACE] = context
    return context


def of(request: HttpRequest | Request) -> RequestContext:
    """The request's context; one that did not come through the middleware (static files) gets an id here."""
    context: RequestContext = request.META.setdefault(PLACE, RequestContext(new_id()))
    return context


def new_id() -> str:
    return f"req_{uuid.uuid4().hex}"
