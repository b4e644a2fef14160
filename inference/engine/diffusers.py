"""The engine on diffusers: loads any text-to-image pipeline and runs compatible requests together.

One thread owns the pipeline and the device. Worker threads put tickets into a queue and wait. The engine thread
takes the oldest ticket and every waiting one that may share its pipeline call (same size, steps, guidance and
scheduler), up to `max_batch` images. Noise is drawn per image from a CPU generator seeded with the image's seed, so
a picture does not depend on its batch mates beyond rounding.

Options: `device`, `dtype` (float32, bfloat16, float16), `max_batch`, `threads` (on a CPU).
"""

import contextlib
import inspect
import os
import queue
import re
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import numpy
import torch
import transformers
from PIL import Image

from inference.engine.base import (
    Canceled,
    Control,
    Engine,
    EngineClosing,
    EngineError,
    EngineSpec,
    ModelUnavailable,
    PictureInvalid,
)
from inference.requests import GeneratedImage, ResolvedRequest
from inference.schedulers import SCHEDULERS

COMMIT = re.compile(r"[0-9a-f]{40}")
# Both libraries warn of an over-long prompt by printing it, and a prompt must not reach a log.
for library_logging in (diffusers.utils.logging, transformers.utils.logging):
    library_logging.set_verbosity_error()
    library_logging.disable_progress_bar()


@dataclass(eq=False)
class Ticket:
    """One request on its way through the engine thread."""

    request: ResolvedRequest
    control: Control
    future: "Future[list[GeneratedImage]]" = field(default_factory=Future)
    images: list[GeneratedImage] = field(default_factory=list)

    @property
    def batch_key(self) -> tuple[object, ...]:
        """Requests with equal keys can share a pipeline call."""
        r = self.request
        return r.width, r.height, r.num_inference_steps, r.guidance_scale, r.scheduler

    def check(self) -> bool:
        """Whether to go on; a request that was canceled or is late ends here, its batch mates do not."""
        if self.future.done():
            return False
        try:
            self.control.check()
        except EngineError as error:
            if isinstance(error, Canceled):
                error.finished = self.images
            self.future.set_exception(error)
            return False
        return True


@dataclass(frozen=True)
class Row:
    """One image of a ticket: a place in a batch."""

    ticket: Ticket
    index: int

    @property
    def seed(self) -> int:
        return self.ticket.request.seed_of(self.index)


@dataclass(frozen=True)
class Passes:
    """Which pipeline call of how many: a request of more images than fit is drawn in several."""

    number: int
    of: int


class AllEnded(Exception):
    """Every request of the running batch was canceled or is late: the call need not go on."""


class DiffusersEngine(Engine):
    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        default_device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(spec.options.get("device", default_device))
        default_dtype = "float32" if self.device.type == "cpu" else "bfloat16"
        self.dtype: torch.dtype = getattr(torch, spec.options.get("dtype", default_dtype))
        self.max_batch = int(spec.options.get("max_batch", 4))
        if self.device.type == "cpu":
            # A core stays free for everything else: on a busy machine threads that wait for each other at every
            # kernel turned 0.2 s into 15 s (2 cores), while one thread alone took 0.23 s.
            torch.set_num_threads(int(spec.options.get("threads", max(1, (os.cpu_count() or 1) - 1))))
        self._tickets: queue.SimpleQueue[Ticket | None] = queue.SimpleQueue()
        self._waiting: deque[Ticket] = deque()
        self._door = threading.Lock()  # nothing comes in behind the one that closes it
        self._is_closing = False
        self._thread = threading.Thread(target=self._serve, name=f"engine {spec.label}", daemon=True)
        self._loaded: Future[None] = Future()

    # --- Any thread -----------------------------------------------------------------------------

    def setup(self) -> None:
        self._thread.start()
        self._loaded.result()

    def generate(self, request: ResolvedRequest, control: Control) -> list[GeneratedImage]:
        ticket = Ticket(request, control)
        with self._door:
            if self._is_closing:
                raise EngineClosing("The engine is closing.")
            self._tickets.put(ticket)
        return ticket.future.result()

    def close(self) -> None:
        with self._door:
            self._is_closing = True
            self._tickets.put(None)
        self._thread.join(timeout=30)

    # --- The engine thread ----------------------------------------------------------------------

    def _serve(self) -> None:
        try:
            self.pipeline = self._load()
        except Exception as error:  # whoever waits for the set-up must hear of it
            self._loaded.set_exception(error)
            return
        self._loaded.set_result(None)
        while tickets := self._next_batch():
            self._run(tickets)

    def _load(self) -> Any:
        """The pipeline on its device; whatever diffusers raises becomes ModelUnavailable with the reason."""
        source = self.spec.source
        is_folder = Path(source).is_dir()
        if not is_folder and not COMMIT.fullmatch(self.spec.revision):
            raise ModelUnavailable(
                f"{self.spec.label}: {source!r} is no folder, and a hub model needs a revision of 40 hex digits."
            )
        try:
            pipeline = diffusers.DiffusionPipeline.from_pretrained(
                source,
                revision=None if is_folder else self.spec.revision,
                local_files_only=is_folder,
                use_safetensors=True,
                dtype=self.dtype,
            ).to(self.device)
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ModelUnavailable(f"{self.spec.label} could not be loaded: {reason}") from error
        pipeline.set_progress_bar_config(disable=True)
        self._scheduler_config = pipeline.scheduler.config
        self._parameters = inspect.signature(pipeline.__call__).parameters
        return pipeline

    def _next_batch(self) -> list[Ticket]:
        """The oldest ticket with all that may run beside it; empty when the engine closes."""
        self._collect()
        while not self._waiting and not self._is_closing:
            if ticket := self._tickets.get():
                self._waiting.append(ticket)
            self._collect()
        if self._is_closing:
            self._fail(list(self._waiting), EngineClosing("The engine is closing."))
            return []
        first, room = self._waiting[0], self.max_batch
        batch, left = [], deque[Ticket]()
        for ticket in self._waiting:
            if ticket is first or (ticket.batch_key == first.batch_key and ticket.request.num_images <= room):
                batch.append(ticket)
                room -= ticket.request.num_images
            else:
                left.append(ticket)
        self._waiting = left
        return batch

    def _collect(self) -> None:
        """Take what came in; a waiting request that was canceled meanwhile waits no longer."""
        with contextlib.suppress(queue.Empty):
            while True:
                if ticket := self._tickets.get_nowait():
                    self._waiting.append(ticket)
        self._waiting = deque(ticket for ticket in self._waiting if ticket.check())

    def _run(self, tickets: list[Ticket]) -> None:
        for ticket in tickets:
            ticket.control.begin()
        rows = [Row(ticket, index) for ticket in tickets for index in range(ticket.request.num_images)]
        parts = [rows[start : start + self.max_batch] for start in range(0, len(rows), self.max_batch)]
        try:
            for number, part in enumerate(parts):
                if going_on := [row for row in part if row.ticket.check()]:
                    self._run_rows(going_on, Passes(number, len(parts)))
        except AllEnded:
            pass
        except Exception as error:
            self._fail(tickets, error)
        for ticket in tickets:
            if ticket.future.done():
                continue
            if ticket.images:
                ticket.future.set_result(ticket.images)
            else:
                ticket.future.set_exception(PictureInvalid("The model computed values that are not numbers."))

    def _fail(self, tickets: list[Ticket], error: Exception) -> None:
        known = (
            error if isinstance(error, EngineError) else EngineError(f"{type(error).__name__} in the engine")
        )
        for ticket in tickets:
            if not ticket.future.done():
                known.__cause__ = error if known is not error else None
                ticket.future.set_exception(known)

    def _run_rows(self, rows: Sequence[Row], passes: Passes) -> None:
        """One pipeline call; its GPU time is split evenly over its rows."""
        started = time.monotonic()
        pixels = self._denoise(rows, passes)
        if not numpy.isfinite(pixels).all() and self.dtype != torch.float32:
            with self._in_float32():
                pixels = self._denoise(rows, passes)
        gpu_ms = round((time.monotonic() - started) * 1000 / len(rows))
        for row, values in zip(rows, pixels, strict=True):
            self._hand_over(row, values, gpu_ms)

    def _hand_over(self, row: Row, values: Any, gpu_ms: int) -> None:
        """`values`: (height, width, 3) floats in 0..1."""
        self.advance()
        ticket = row.ticket
        if ticket.future.done():
            return
        if not numpy.isfinite(values).all():
            return  # the request goes on without it
        picture = Image.fromarray((values * 255).round().astype("uint8"))
        ticket.images.append(GeneratedImage(row.index, row.seed, picture, gpu_ms))

    @contextlib.contextmanager
    def _in_float32(self) -> Iterator[None]:
        self.pipeline.to(dtype=torch.float32)
        try:
            yield
        finally:
            self.pipeline.to(dtype=self.dtype)

    def _denoise(self, rows: Sequence[Row], passes: Passes) -> Any:
        """(rows, height, width, 3) floats in 0..1."""
        request = rows[0].ticket.request
        self.pipeline.scheduler = self._scheduler(request.scheduler)
        arguments = {
            "prompt": [row.ticket.request.prompt for row in rows],
            "width": request.width,
            "height": request.height,
            "num_inference_steps": request.num_inference_steps,
            "guidance_scale": request.guidance_scale,
            "generator": [torch.Generator("cpu").manual_seed(row.seed) for row in rows],
            "output_type": "np",
            "callback_on_step_end": self._between_steps(rows, passes),
        }
        if "negative_prompt" in self._parameters:
            arguments["negative_prompt"] = [row.ticket.request.negative_prompt for row in rows]
        with torch.inference_mode():
            return self.pipeline(**arguments).images

    def _scheduler(self, name: str) -> Any:
        """A fresh scheduler per call: it keeps state between steps."""
        scheduler = SCHEDULERS[name]
        kind = getattr(diffusers, scheduler.class_name)
        return kind.from_config(self._scheduler_config, **dict(scheduler.options))

    def _between_steps(self, rows: Sequence[Row], passes: Passes) -> Any:
        tickets = list(dict.fromkeys(row.ticket for row in rows))

        def between_steps(pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            self.advance()
            self._collect()
            if self._is_closing:
                self._fail(tickets, EngineClosing("The engine is closing."))
            steps = len(pipeline.scheduler.timesteps)  # evaluations: some schedulers take two for a step
            going_on = [ticket for ticket in tickets if ticket.check()]
            for ticket in going_on:
                ticket.control.report(passes.number * steps + step + 1, passes.of * steps)
            if not going_on:
                raise AllEnded
            return tensors

        return between_steps
