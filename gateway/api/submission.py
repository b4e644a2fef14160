"""Handing a dialect's checked body to the domain: the one call that every creating face makes."""

from typing import Protocol

from rest_framework.request import Request

from gateway.api.authentication import caller
from inference import jobs
from inference.models import Job
from inference.requests import Delivery, GenerationRequest


class GenerationBody(Protocol):
    """A dialect's serializer of a creating request."""

    def is_valid(self, *, raise_exception: bool) -> bool: ...

    def generation_request(self) -> GenerationRequest: ...

    def delivery(self) -> Delivery: ...

    def end_user(self) -> str: ...


def submit(request: Request, dialect: str, body: GenerationBody) -> Job:
    """The accepted job; raises what the body's fields or `jobs.submit` object to."""
    body.is_valid(raise_exception=True)
    return jobs.submit(
        caller(request, dialect, body.end_user()),
        body.generation_request(),
        body.delivery(),
        request.headers.get("Idempotency-Key"),
    )
