"""`/livez`: the process answers. `/readyz`: it can also serve, or names what is down.

What it can do without is named as `degraded`, and it serves on.
"""

import asyncio
import functools
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from accounts import row_security
from gateway import redis_client
from inference import dispatch, storage

log = structlog.get_logger(__name__)

CACHE_SECONDS = 2
_probe = ThreadPoolExecutor(max_workers=1, thread_name_prefix="readyz")


async def livez(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


async def readyz(request: HttpRequest) -> JsonResponse:
    """Checked at most every CACHE_SECONDS, in a thread of its own, so that probes neither load nor wait for us."""
    loop = asyncio.get_running_loop()
    faults = await loop.run_in_executor(_probe, _faults, int(time.monotonic() // CACHE_SECONDS))
    degraded = {name: fault for name, fault in faults.items() if name in SPARED}
    down = {name: fault for name, fault in faults.items() if name not in SPARED}
    body = {"status": "unavailable", "down": down} if down else {"status": "ok"}
    return JsonResponse(body | ({"degraded": degraded} if degraded else {}), status=503 if down else 200)


@functools.lru_cache(maxsize=1)
def _faults(period: int) -> dict[str, str]:
    """What does not work, with a short reason that holds no address and no secret."""
    try:
        found = {name: _run(name, check) for name, check in CHECKS.items()}
        return {name: fault for name, fault in found.items() if fault}
    finally:
        connection.close()


def _run(name: str, check: Callable[[], None]) -> str:
    try:
        check()
    except Exception as error:  # whatever fails, the probe must get an answer
        write = log.warning if name in SPARED else log.error
        write("not ready", part=name, exc_info=error)
        return type(error).__name__
    return ""


def _database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _row_security() -> None:
    if settings.IS_PRODUCTION:
        row_security.require_wall()


class MigrationsPending(Exception):
    """The tables are older than the code: run `manage.py migrate`."""


def _migrations() -> None:
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise MigrationsPending


def _storage() -> None:
    key = f"readyz/{uuid.uuid4().hex}"
    storage.save(key, b"ready")
    storage.discard(key)


class NoWorker(Exception):
    """Jobs are to be made in this process, and nothing here makes them."""


def _worker() -> None:
    here = dispatch.get()
    if isinstance(here, dispatch.InProcessDispatch) and not here.is_running:
        raise NoWorker


CHECKS = {
    "database": _database,
    "migrations": _migrations,
    "row security": _row_security,
    "storage": _storage,
    "worker": _worker,
    "redis": redis_client.ping,
}
SPARED = ("redis",)
