"""Engines run a model version on a device. Start reading at `base.py`.

`of(job)` gives the engine of a job, loaded once per process and kept. torch is imported only when an engine of the
diffusers backend is asked for.
"""

import threading
import time
import uuid

from django.conf import settings
from django.utils.module_loading import import_string

from accounts.models import Side
from inference.engine.base import Engine, EngineSpec, ModelUnavailable
from inference.models import Job, ModelVersion

_engines: dict[tuple[uuid.UUID, str], Engine] = {}
_loading: dict[tuple[uuid.UUID, str], threading.Lock] = {}
_failures: dict[tuple[uuid.UUID, str], tuple[float, ModelUnavailable]] = {}
_lock = threading.Lock()
FAILURE_SECONDS = 30.0  # else every queued job of a broken model would pay for a load of its own


def of(job: Job) -> Engine:
    """The engine of a job's version; jobs of the test side run on the fake one. Raises ModelUnavailable."""
    backend = "fake" if job.side == Side.TEST else job.model_version.backend
    return load(job.model_version, backend)


def load(version: ModelVersion, backend: str) -> Engine:
    """Load once; who comes meanwhile waits for that model only. A failure holds for FAILURE_SECONDS."""
    key = (version.pk, backend)
    with _lock:
        loading = _loading.setdefault(key, threading.Lock())
    with loading:
        if key in _engines:
            return _engines[key]
        if key in _failures and time.monotonic() - _failures[key][0] < FAILURE_SECONDS:
            raise _failures[key][1]
        try:
            _engines[key] = _set_up(version, backend)
        except ModelUnavailable as error:
            _failures[key] = (time.monotonic(), error)
            raise
        return _engines[key]


def _set_up(version: ModelVersion, backend: str) -> Engine:
    """Whatever is wrong with a version's row or weights is the same to its jobs: the model is unavailable."""
    try:
        engine = _build(version, backend)
        engine.setup()
    except ModelUnavailable:
        raise
    except Exception as error:
        raise ModelUnavailable(
            f"{version.label} could not be set up: {type(error).__name__}: {error}"
        ) from error
    return engine


def _build(version: ModelVersion, backend: str) -> Engine:
    configured = settings.ENGINES[backend]
    spec = EngineSpec(
        label=version.label,
        source=version.source,
        revision=version.revision,
        options={**configured["OPTIONS"], **version.engine_options},
    )
    engine: Engine = import_string(configured["BACKEND"])(spec)
    return engine


def close_all() -> None:
    with _lock:
        engines = list(_engines.values())
        _engines.clear()
        _failures.clear()
    for engine in engines:
        engine.close()
