"""Handing a dialect's checked body to the domain: the one call that every creating face makes, once per retry."""

from collections.abc import Callable
from typing import Protocol

from rest_framework.request import Request

from gateway.api import quota_headers
from gateway.api.authentication import caller
from inference import idempotency, jobs
from inference.models import Job
from inference.quotas import QuotaExceeded
from inference.requests import Caller, Delivery, GenerationRequest

IDEMPOTENCY_KEY = "Idempotency-Key"


class GenerationBody(Protocol):
    """A dialect's serializer of a creating request."""

    def is_valid(self, *, raise_exception: bool) -> bool: ...

    def generation_request(self) -> GenerationRequest: ...

    def delivery(self) -> Delivery: ...

    def end_user(self) -> str: ...


def submit(request: Request, dialect: str, body: GenerationBody) -> Job:
    """The accepted job; raises what the body's fields or `jobs.submit` object to."""
    body.is_valid(raise_exception=True)
    try:
        job = jobs.submit(
            caller(request, dialect, body.end_user()),
            body.generation_request(),
            body.delivery(),
            request.headers.get(IDEMPOTENCY_KEY),
        )
    except QuotaExceeded as refusal:
        quota_headers.note(request, [refusal.state])
        raise
    quota_headers.note(request, job.quota_states)
    return job


def once(request: Request, who: Caller, endpoint: str, make: Callable[[], str]) -> tuple[str, bool]:
    """Make a thing that is not a job: its public id, and whether it was this call that made it, not an earlier one."""
    return idempotency.once(who, endpoint, request.headers.get(IDEMPOTENCY_KEY), request.data, make)
