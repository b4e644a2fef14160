"""Relay, sweeper and workers as threads of one process: the embedded default, which needs no broker."""

import threading
from collections.abc import Callable, Sequence

import structlog
from django.db import connections

from accounts import row_security
from inference import bus, dispatch, engine, relay, sweeper

log = structlog.get_logger(__name__)

RELAY_SECONDS = 1.0
SWEEP_SECONDS = 5.0


class Loop:
    """Calls a function again and again: after its pause, or at once when nudged. A fault is logged, not fatal."""

    def __init__(self, name: str, function: Callable[[], object], pause_seconds: float) -> None:
        self._name, self._function, self._pause = name, function, pause_seconds
        self._nudged, self._is_stopping = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def nudge(self) -> None:
        self._nudged.set()

    def stop(self) -> None:
        self._is_stopping = True
        self.nudge()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._is_stopping:
            self._nudged.clear()
            try:
                self._function()
            except Exception:
                log.exception("loop failed", loop=self._name)
            finally:
                connections.close_all()
            self._nudged.wait(self._pause)


class Runtime:
    """Everything that makes images, in this process, under one worker name, and what else must go on and on."""

    def __init__(self, worker: str, loops: Sequence[Loop] = ()) -> None:
        self.worker = worker
        self._relay = Loop("relay", relay.run_once, RELAY_SECONDS)
        self._sweeper = Loop("sweeper", sweeper.run_once, SWEEP_SECONDS)
        self._others = loops

    def start(self) -> None:
        row_security.require_no_wall()
        _shared().start(self.worker)
        self._unsubscribe = bus.queue_changed.subscribe(self._relay.nudge)
        self._relay.start()
        self._sweeper.start()
        for loop in self._others:
            loop.start()

    def stop(self, timeout_seconds: float = 10) -> None:
        """Start nothing more, give running jobs the time to finish, give the others back."""
        self._unsubscribe()
        self._relay.stop()
        self._sweeper.stop()
        for loop in self._others:
            loop.stop()
        _shared().stop(timeout_seconds)
        engine.close_all()  # what still runs ends at its next step and goes back into the queue
        _shared().join(timeout_seconds=5)


def _shared() -> dispatch.InProcessDispatch:
    shared = dispatch.get()
    if not isinstance(shared, dispatch.InProcessDispatch):
        raise TypeError("The in-process runtime needs ATELIER_DISPATCH=inprocess.")
    return shared
