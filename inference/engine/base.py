"""What every engine is: `setup` once, then `generate` from many threads at a time.

The engine alone decides which requests share a batch. It looks at `Control` between denoiser steps: a canceled
request and one past its deadline end there. `advanced_at` moves with every step, and a worker renews its leases only
while it moves, so a hung engine loses its jobs to another worker.
"""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from inference.requests import GeneratedImage, ResolvedRequest


@dataclass(frozen=True)
class EngineSpec:
    """Which weights to load and how; `source` is a folder or a hub id pinned to `revision`."""

    label: str
    source: str = ""
    revision: str = ""
    options: dict[str, Any] = field(default_factory=dict)


class EngineError(Exception):
    """Why no picture was made. `code` becomes the job's error code; `is_retryable` says if another try can help."""

    code = "engine_failed"
    is_retryable = True


class ModelUnavailable(EngineError):
    """The weights cannot be loaded: missing or broken folder, unpinned hub id, unsupported pipeline."""

    code = "model_unavailable"
    is_retryable = False


class EngineClosing(EngineError):
    """This worker stops; the job goes back into the queue."""


class PictureInvalid(EngineError):
    """The model computed numbers that are no picture (NaN), also in float32."""

    code = "invalid_picture"
    is_retryable = False


class DeadlineExceeded(EngineError):
    """The request ran longer than its model version allows."""

    code = "deadline_exceeded"
    is_retryable = False


class Canceled(EngineError):
    """The caller asked to stop; what was finished by then is in `finished`, and is delivered and charged."""

    code = "canceled"
    is_retryable = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.finished: list[GeneratedImage] = []


@dataclass
class Control:
    """A request's line to its worker. The time limit runs from `begin`, not while the request waits for mates."""

    attempt: int
    run_limit_seconds: float
    is_canceled: Callable[[], bool] = lambda: False
    report: Callable[[int, int], None] = lambda step, steps: None
    deadline: float = math.inf  # on this process's monotonic clock

    def begin(self) -> None:
        """The engine starts to draw."""
        self.deadline = time.monotonic() + self.run_limit_seconds

    def check(self) -> None:
        """Raise Canceled or DeadlineExceeded when the request should go no further."""
        if self.is_canceled():
            raise Canceled("The request was canceled.")
        if time.monotonic() > self.deadline:
            raise DeadlineExceeded("The request ran longer than its model allows.")


class Engine(ABC):
    """One loaded model version."""

    def __init__(self, spec: EngineSpec) -> None:
        self.spec = spec
        self.advanced_at = time.monotonic()

    def advance(self) -> None:
        self.advanced_at = time.monotonic()

    @abstractmethod
    def setup(self) -> None:
        """Load the model; raises ModelUnavailable."""

    @abstractmethod
    def generate(self, request: ResolvedRequest, control: Control) -> list[GeneratedImage]:
        """All images of the request, in order; raises EngineError. Called from many threads."""

    def close(self) -> None:  # noqa: B027 - most engines hold nothing
        """Give the device back."""
