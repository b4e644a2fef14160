"""Views that wait for a job: one synchronous part that accepts, then an asynchronous wait, then the answer.

The synchronous part is an ordinary DRF view, run in a bounded pool of threads; when it has accepted a job it answers
with `Accepted` instead of a body. Its thread and connection are free again before the wait begins. If the client
leaves, the job goes on: nothing that must happen stands after the wait.
"""

import asyncio
import contextvars
import functools
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.views import APIView

from gateway.api import context, errors
from inference import jobs
from inference.models import Job, State

log = structlog.get_logger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Accepted:
    """An accepted job, how long its caller waits, and how the answer is drawn afterwards.

    `draw` gets the job as it is then; it may raise WaitTimedOut or JobDidNotSucceed.
    """

    job: Job
    wait_seconds: float
    draw: Callable[[Job], HttpResponseBase]


class AcceptedResponse(Response):
    """What the synchronous part returns when there is something to wait for."""

    def __init__(self, accepted: Accepted) -> None:
        super().__init__({})
        self.accepted = accepted


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=settings.ACCEPT_THREADS, thread_name_prefix="accept")


async def in_pool(function: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
    """Run a synchronous function with its own database connection, which is closed again at its end."""
    call = functools.partial(function, *args, **kwargs)
    if settings.ACCEPT_THREADS == 0:  # in the request's own thread, for tests inside a transaction
        return await sync_to_async(call, thread_sensitive=True)()
    context = contextvars.copy_context()
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_pool(), context.run, _with_connection_closed, call)


def _with_connection_closed(call: Callable[[], Result]) -> Result:
    try:
        return call()
    finally:
        connections.close_all()


def waiting(view_class: type[APIView]) -> Callable[..., Coroutine[Any, Any, HttpResponseBase]]:
    """The asynchronous view of a DRF view that may answer with AcceptedResponse."""
    accept = view_class.as_view()

    async def view(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        started = time.monotonic()
        response = await in_pool(_accept, accept, request, kwargs)
        if not isinstance(response, AcceptedResponse):
            return response
        accepted = response.accepted
        _note(request, accepted.job, time.monotonic() - started)
        if accepted.wait_seconds > 0 and not State(accepted.job.state).is_terminal:
            await jobs.wait(accepted.job.pk, accepted.wait_seconds)
        return await in_pool(_draw, request, accepted)

    view.cls = view_class  # type: ignore[attr-defined]  # where drf-spectacular looks for the schema
    view.initkwargs = {}  # type: ignore[attr-defined]
    view.csrf_exempt = True  # type: ignore[attr-defined]
    return view


def _note(request: HttpRequest, job: Job, accept_seconds: float) -> None:
    """What the request's log line tells of its job."""
    context.of(request).log_fields |= {
        "job_id": job.public_id,
        "model": job.model_version.label,
        "prompt_hash": job.prompt_hash,
        "accept_ms": round(accept_seconds * 1000, 1),
    }


def _accept(
    accept: Callable[..., HttpResponseBase], request: HttpRequest, kwargs: dict[str, Any]
) -> HttpResponseBase:
    response = accept(request, **kwargs)
    if isinstance(response, Response) and not isinstance(response, AcceptedResponse):
        response.render()
    return response


def _draw(request: HttpRequest, accepted: Accepted) -> HttpResponseBase:
    """The answer; whatever goes wrong now, the job is accepted, and a resend would make a second one."""
    try:
        rows = Job.objects.for_workspace(accepted.job.workspace_id).select_related("model_version")
        return accepted.draw(rows.get(pk=accepted.job.pk))
    except (errors.WaitTimedOut, errors.JobDidNotSucceed) as error:
        return errors.respond(request, error)
    except Exception as error:
        log.error("answer not drawn", exc_info=error)
        return errors.respond(request, errors.AnswerNotDrawn(accepted.job))


def json_response(
    body: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> HttpResponse:
    """An answer drawn after the wait, as DRF would render it."""
    content = JSONRenderer().render(body)
    return HttpResponse(content, status=status, content_type="application/json", headers=headers)
