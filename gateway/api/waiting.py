"""Views that wait for a job: one synchronous part that accepts, then an asynchronous wait, then the answer.

The synchronous part is an ordinary DRF view in the pool of `threads`; when it has accepted a job it answers with
`Accepted` instead of a body. Its thread and connection are free again before the wait begins. If the client leaves,
the job goes on: nothing that must happen stands after the wait.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from django.db import Error as DatabaseFault
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from accounts import tenancy
from gateway.api import context, errors, threads
from gateway.api.threads import Pool, View
from gateway.api.views import TenantView
from inference import jobs
from inference.models import Job, State

log = structlog.get_logger(__name__)


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


def waiting(view_class: type[TenantView]) -> View:
    """The asynchronous view of a DRF view that may answer with AcceptedResponse."""
    accept = view_class.as_synchronous_view()

    async def view(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        answer = await threads.run(Pool.ACCEPT, _accept, accept, request, kwargs)
        if not isinstance(answer, Accepted):
            return answer
        await jobs.wait(answer.job.pk, answer.wait_seconds)
        return await threads.run(Pool.READ, _read_and_draw, request, answer)

    return threads.of_class(view, view_class)


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
) -> HttpResponseBase | Accepted:
    """The answer, or what there is to wait for."""
    started = time.monotonic()
    response = accept(request, **kwargs)
    if isinstance(response, AcceptedResponse):
        accepted = response.accepted
        _note(request, accepted.job, time.monotonic() - started)
        if State(accepted.job.state).is_terminal:
            return _read_and_draw(request, accepted)
        # Just made and not waited for: the database has nothing to add.
        return accepted if accepted.wait_seconds > 0 else _draw(request, accepted, accepted.job)
    if isinstance(response, Response):
        response.render()
    return response


def _read_and_draw(request: HttpRequest, accepted: Accepted) -> HttpResponseBase:
    workspace_id = accepted.job.workspace_id
    try:
        with tenancy.reading(workspace_id):
            rows = Job.objects.for_workspace(workspace_id).select_related("model_version")
            job = rows.get(pk=accepted.job.pk)
    except DatabaseFault as error:
        return _not_drawn(request, accepted, error)
    return _draw(request, accepted, job)


def _draw(request: HttpRequest, accepted: Accepted, job: Job) -> HttpResponseBase:
    """The answer; whatever goes wrong now, the job is accepted, and a resend would make a second one."""
    try:
        return accepted.draw(job)
    except (errors.WaitTimedOut, errors.JobDidNotSucceed) as error:
        return errors.respond(request, error)
    except Exception as error:
        return _not_drawn(request, accepted, error)


def _not_drawn(request: HttpRequest, accepted: Accepted, error: Exception) -> HttpResponseBase:
    log.error("answer not drawn", exc_info=error)
    return errors.respond(request, errors.AnswerNotDrawn(accepted.job))


def json_response(
    body: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> HttpResponse:
    """An answer drawn after the wait, as DRF would render it."""
    content = JSONRenderer().render(body)
    return HttpResponse(content, status=status, content_type="application/json", headers=headers)
