"""Sending queued jobs to workers. Messages carry the job's id and nothing else.

Two backends: `InProcessDispatch` hands ids to threads of this process, `CeleryDispatch` to a broker. Both end in
`runner.run(job_id)`. A lost or doubled message is harmless: the job's row decides.
"""

import functools
import queue
import threading
import time
import uuid
from abc import ABC, abstractmethod

import structlog
from django.conf import settings
from django.db import connections
from django.utils.module_loading import import_string

from inference import runner

log = structlog.get_logger(__name__)


class Dispatch(ABC):
    @abstractmethod
    def capacity(self, model: str) -> int:
        """Jobs of the model that the workers can take at once; bounds what is published ahead."""

    @abstractmethod
    def publish(self, model: str, job_id: uuid.UUID) -> None:
        """Send one job to the workers of the model; raises what the broker raises."""


class InProcessDispatch(Dispatch):
    """Worker threads of this process, which take jobs in the order of publication."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[uuid.UUID | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._is_stopping = threading.Event()

    def capacity(self, model: str) -> int:
        return settings.WORKER_THREADS

    def publish(self, model: str, job_id: uuid.UUID) -> None:
        self._jobs.put(job_id)

    @property
    def is_running(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def start(self, worker: str) -> None:
        self._is_stopping.clear()
        self._threads = [
            threading.Thread(target=self._work, args=(worker,), name=f"worker {number}", daemon=True)
            for number in range(settings.WORKER_THREADS)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """Start nothing more and let running jobs finish within the time."""
        self._is_stopping.set()
        for _ in self._threads:
            self._jobs.put(None)
        self.join(timeout_seconds)

    def join(self, timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self, worker: str) -> None:
        while (job_id := self._jobs.get()) and not self._is_stopping.is_set():
            try:
                runner.run(job_id, worker)
            except Exception:  # a worker thread must outlive any job; the lease brings the job back
                log.exception("worker thread survived a fault", job_id=str(job_id))
            finally:
                connections.close_all()


class CeleryDispatch(Dispatch):
    """Celery tasks, one queue per model, addressed by name so that this module needs no task module."""

    def capacity(self, model: str) -> int:
        return settings.WORKER_THREADS

    def publish(self, model: str, job_id: uuid.UUID) -> None:
        from celery import signature

        signature("inference.tasks.run_job", args=(str(job_id),)).apply_async(queue=model)


@functools.cache
def get() -> Dispatch:
    configured = settings.DISPATCHES[settings.DISPATCH]
    backend: Dispatch = import_string(configured["BACKEND"])(**configured["OPTIONS"])
    return backend
