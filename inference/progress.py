"""How far the jobs of this process are, and which of them were asked to stop."""

import threading
import uuid
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Denoiser steps done, of how many."""

    step: int
    steps: int


_lock = threading.Lock()
_latest: dict[uuid.UUID, Progress] = {}
_canceled: set[uuid.UUID] = set()


def publish(job_id: uuid.UUID, step: int, steps: int) -> None:
    with _lock:
        _latest[job_id] = Progress(step, steps)


def latest(job_id: uuid.UUID) -> Progress | None:
    """None when the job does not run in this process."""
    with _lock:
        return _latest.get(job_id)


def ask_to_cancel(job_id: uuid.UUID) -> None:
    with _lock:
        if job_id in _latest:
            _canceled.add(job_id)


def is_canceled(job_id: uuid.UUID) -> bool:
    with _lock:
        return job_id in _canceled


def forget(job_id: uuid.UUID) -> None:
    with _lock:
        _latest.pop(job_id, None)
        _canceled.discard(job_id)
