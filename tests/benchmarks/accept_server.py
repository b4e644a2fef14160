"""The product's server and two addresses more: `/api/v1/empty` does nothing, `/count` tells of statements so far."""

import threading
from collections.abc import Callable
from typing import Any

from gateway.asgi import application as application  # sets Django up

from django.db.backends.signals import connection_created  # isort: skip
from django.http import HttpRequest, JsonResponse  # isort: skip
from django.urls import path  # isort: skip

from gateway import urls  # isort: skip

_lock = threading.Lock()
_count = 0


def _counted(execute: Callable[..., Any], *arguments: Any) -> Any:
    global _count
    with _lock:
        _count += 1
    return execute(*arguments)


def _watch(connection: Any, **signal: Any) -> None:
    if _counted not in connection.execute_wrappers:
        connection.execute_wrappers.append(_counted)


async def empty(request: HttpRequest) -> JsonResponse:
    return JsonResponse({})


async def count(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"statements": _count})


connection_created.connect(_watch, weak=False)
urls.urlpatterns += [path("api/v1/empty", empty), path("count", count)]
