"""Waiting for jobs without holding anything: all waiters of a process share one watcher.

The watcher asks the database for all awaited jobs at once, every 500 ms and whenever a job of this process ends. A
waiter is one future: no thread, no connection.
"""

import asyncio
import uuid
import weakref
from concurrent.futures import ThreadPoolExecutor

import structlog
from django.db import Error as DatabaseFault
from django.db import connection

from accounts import tenancy
from inference import bus
from inference.models import UNFINISHED, Job

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.5


class Watcher:
    """Belongs to one event loop; use `watcher()`."""

    def __init__(self) -> None:
        self._waiters: dict[uuid.UUID, set[asyncio.Future[None]]] = {}
        self._task: asyncio.Task[None] | None = None
        self._nudge = asyncio.Event()
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="job-watcher")
        loop = asyncio.get_running_loop()
        self._unsubscribe = bus.job_ended.subscribe(lambda: self._wake(loop))

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop.is_closed():
            self._unsubscribe()
        else:
            loop.call_soon_threadsafe(self._nudge.set)

    async def wait(self, job_id: uuid.UUID, timeout_seconds: float) -> bool:
        """Whether the job ended within the time."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(job_id, set()).add(future)
        self._nudge.set()  # a job may have ended before its first waiter came
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch())
        try:
            await asyncio.wait_for(future, timeout_seconds)
        except TimeoutError:
            return False
        finally:
            self._forget(job_id, future)
        return True

    def _forget(self, job_id: uuid.UUID, future: asyncio.Future[None]) -> None:
        mates = self._waiters.get(job_id, set())
        mates.discard(future)
        if not mates:
            self._waiters.pop(job_id, None)

    def _resolve(self, ended: list[uuid.UUID]) -> None:
        for job_id in ended:
            for future in self._waiters.get(job_id, ()):
                if not future.done():
                    future.set_result(None)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiters:
            self._nudge.clear()
            try:
                ended = await loop.run_in_executor(self._threads, _ended_among, list(self._waiters))
            except DatabaseFault as error:  # the waiters' own time limits end a longer outage
                log.warning("watching jobs failed", error=type(error).__name__)
                ended = []
            self._resolve(ended)
            try:
                await asyncio.wait_for(self._nudge.wait(), POLL_SECONDS)
            except TimeoutError:
                continue


def _ended_among(job_ids: list[uuid.UUID]) -> list[uuid.UUID]:
    try:
        with tenancy.reading(tenancy.EVERY_WORKSPACE):
            ended = Job.objects.across_workspaces().filter(pk__in=job_ids)
            ended = ended.exclude(state__in=UNFINISHED)
            return list(ended.values_list("pk", flat=True))
    finally:
        connection.close()


_watchers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Watcher] = weakref.WeakKeyDictionary()


def watcher() -> Watcher:
    """The watcher of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _watchers:
        _watchers[loop] = Watcher()
    return _watchers[loop]
