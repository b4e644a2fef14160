"""Around every request: its id, one log line, and an answer in the caller's dialect whatever happens.

Django's own middleware serves the pages only. API requests pass it by: cookies mean nothing there, and each of
those classes would cost an asynchronous request a change of thread.
"""

import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from asgiref.sync import markcoroutinefunction, sync_to_async
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.common import CommonMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from django.middleware.security import SecurityMiddleware

from accounts import key_text
from gateway.api import body_limit, context, errors, faces

log = structlog.get_logger("gateway.requests")

REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,80}")
QUIET_PATHS = ("/livez", "/readyz", "/static/")


class RequestMiddleware:
    """Outermost: gives the request its id and writes its line. Asynchronous only, as the server is."""

    async_capable, sync_capable = True, False

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]]) -> None:
        self.get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.monotonic()
        request_id = _given_id(request) or context.new_id()
        context.begin(request, request_id)
        if "CONTENT_LENGTH" not in request.META and "HTTP_TRANSFER_ENCODING" in request.META:
            # DRF takes a body without a length for an empty one; this one came in chunks and is complete.
            request.META["CONTENT_LENGTH"] = str(len(request.body))
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        response = await self._answer(request)
        for name, value in context.of(request).headers.items():
            response[name] = value
        response["X-Request-Id"] = request_id
        response["X-Content-Type-Options"] = "nosniff"
        if isinstance(response, HttpResponse) and not response.has_header("Content-Length"):
            response["Content-Length"] = str(len(response.content))
        self._log(request, response, time.monotonic() - started)
        return response

    async def _answer(self, request: HttpRequest) -> HttpResponseBase:
        if body_limit.was_exceeded(request):
            return errors.respond(request, RequestDataTooBig())
        return await self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponseBase | None:
        """An exception of a view that is not DRF's; pages keep Django's handling."""
        return errors.respond(request, error) if faces.find(request.path_info) else None

    def _log(self, request: HttpRequest, response: HttpResponseBase, seconds: float) -> None:
        if request.path_info.startswith(QUIET_PATHS):
            return
        face, about = faces.find(request.path_info), context.of(request)
        log.info(
            "request",
            method=request.method,
            path=request.path_info,
            face=face.name if face else "pages",
            status=response.status_code,
            code=about.problem_code,
            total_ms=round(seconds * 1000, 1),
            **about.log_fields,
        )


def _given_id(request: HttpRequest) -> str:
    """The client's own id of the request; empty for one that is malformed, or holds a key, since ids are kept."""
    given = request.headers.get("X-Request-Id", "")
    return given if REQUEST_ID.fullmatch(given) and key_text.redact(given) == given else ""


def for_pages(kind: type[Any]) -> type[Any]:
    """The middleware class, passed by on API addresses."""

    class PagesOnly(kind):  # type: ignore[misc]
        def __call__(self, request: HttpRequest) -> Any:
            return self.get_response(request) if faces.find(request.path_info) else super().__call__(request)

    if hasattr(kind, "process_view"):

        async def process_view(self: Any, request: HttpRequest, *view: Any) -> Any:
            if faces.find(request.path_info):
                return None
            return await sync_to_async(kind.process_view, thread_sensitive=True)(self, request, *view)

        PagesOnly.process_view = process_view
    return PagesOnly


PagesSecurity = for_pages(SecurityMiddleware)
PagesSession = for_pages(SessionMiddleware)
PagesCommon = for_pages(CommonMiddleware)
PagesCsrf = for_pages(CsrfViewMiddleware)
PagesAuthentication = for_pages(AuthenticationMiddleware)
PagesMessages = for_pages(MessageMiddleware)
PagesFrameOptions = for_pages(XFrameOptionsMiddleware)
