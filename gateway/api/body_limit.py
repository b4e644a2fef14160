"""Stops reading a request body that is too large, before it fills memory or disk.

Django collects the whole body before any middleware runs, also one sent in chunks without a length. This wrapper
sits in front of it: past the limit it ends the body early and leaves a mark, and the request's middleware answers
413 in the caller's dialect.
"""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from django.conf import settings
from django.http import HttpRequest

MARK = "atelier.body_too_large"


Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Application = Callable[[Any, Receive, Send], Awaitable[None]]


class BodyLimit:
    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})
            return
        if scope["type"] == "http":
            receive = _limited(scope, receive)
        await self.application(scope, receive, send)


def _limited(scope: Scope, receive: Receive) -> Receive:
    left = settings.DATA_UPLOAD_MAX_MEMORY_SIZE

    async def limited() -> Mapping[str, Any]:
        nonlocal left
        message = await receive()
        while MARK in scope and message["type"] == "http.request":
            message = await receive()  # the rest is of no interest, only that the client leaves
        if message["type"] == "http.request":
            left -= len(message.get("body", b""))
            if left < 0:
                scope[MARK] = True
                return {"type": "http.request", "body": b"", "more_body": False}
        return message

    return limited


def was_exceeded(request: HttpRequest) -> bool:
    return MARK in getattr(request, "scope", {})
