"""Where the synchronous part of an asynchronous view runs: in bounded pools, each call with a connection of its own.

Accepting and looking have pools of their own, so that a report or an export never stands in a new job's way. A thread
gives its connection back when its call ends; nothing that waits for anything but the database runs here.
"""

import asyncio
import contextvars
import functools
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections
from django.http import HttpRequest, HttpResponseBase
from rest_framework.response import Response

if TYPE_CHECKING:
    from rest_framework.views import APIView

Result = TypeVar("Result")
View = Callable[..., Coroutine[Any, Any, HttpResponseBase]]


class Pool(StrEnum):
    ACCEPT = "accept"
    READ = "read"


async def run(pool: Pool, function: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
    call = functools.partial(function, *args, **kwargs)
    if settings.ACCEPT_THREADS == 0:  # in the request's own thread, for tests inside a transaction
        return await sync_to_async(call, thread_sensitive=True)()
    context = contextvars.copy_context()
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_executor(pool), context.run, _with_connection_closed, call)


@functools.cache
def _executor(pool: Pool) -> ThreadPoolExecutor:
    threads = {Pool.ACCEPT: settings.ACCEPT_THREADS, Pool.READ: settings.READ_THREADS}
    return ThreadPoolExecutor(max_workers=threads[pool], thread_name_prefix=pool)


def _with_connection_closed(call: Callable[[], Result]) -> Result:
    try:
        return call()
    finally:
        connections.close_all()


def pooled(synchronous: Callable[..., HttpResponseBase]) -> View:
    """The asynchronous view of a synchronous one that only looks, or changes little."""

    async def view(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        return await run(Pool.READ, _rendered, synchronous, request, kwargs)

    return view


def _rendered(
    synchronous: Callable[..., HttpResponseBase], request: HttpRequest, kwargs: dict[str, Any]
) -> HttpResponseBase:
    response = synchronous(request, **kwargs)
    return response.render() if isinstance(response, Response) else response


def of_class(view: View, view_class: "type[APIView]") -> View:
    """The view with the marks that Django and drf-spectacular look for on a view of a DRF class."""
    view.cls = view_class  # type: ignore[attr-defined]
    view.initkwargs = {}  # type: ignore[attr-defined]
    view.csrf_exempt = True  # type: ignore[attr-defined]
    return view
