"""The quickstart's first request: a real call of the HTTP API, with a progress bar in the terminal."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import httpx

POLL_SECONDS = 0.05
GIVE_UP_SECONDS = 300
BAR_WIDTH = 24


class NoPicture(Exception):
    """The first request did not lead to a picture; the message says why."""


@dataclass(frozen=True)
class FirstPicture:
    path: Path
    seconds: float
    credits: int
    seed: int


class Bar:
    """One line that is drawn over in a terminal, and written once in a pipe."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._is_terminal = out, out.isatty()

    def show(self, job: dict[str, Any]) -> None:
        if not self._is_terminal:
            return
        now = job["progress"] or {"step": 0, "steps": 1}
        filled = BAR_WIDTH * now["step"] // now["steps"]
        words = f"step {now['step']} of {now['steps']}" if job["progress"] else "loading the model"
        self._out.write(f"\r  [{'█' * filled}{'·' * (BAR_WIDTH - filled)}] {words:<20}")
        self._out.flush()

    def clear(self) -> None:
        if self._is_terminal:
            self._out.write("\r" + " " * 60 + "\r")


def make(base_url: str, api_key: str, prompt: str, output: Path, out: TextIO) -> FirstPicture:
    """Post the prompt, follow the job, save the picture; raises NoPicture."""
    headers = {"Authorization": f"Bearer {api_key}"}
    started = time.monotonic()
    try:
        with httpx.Client(base_url=base_url, headers=headers, timeout=30, trust_env=False) as client:
            job = _checked(client.post("/api/v1/generations", json={"prompt": prompt}))
            job = _follow(job, lambda: _checked(client.get(f"/api/v1/jobs/{job['id']}")), Bar(out))
            image = job["images"][0]
            picture = client.get(image["url"])
            picture.raise_for_status()
    except httpx.HTTPError as error:
        raise NoPicture(f"The server could not be reached: {error}") from error
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(picture.content)
    return FirstPicture(output, time.monotonic() - started, job["price"]["captured_credits"], image["seed"])


def _checked(response: httpx.Response) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    if response.is_error:
        raise NoPicture(f"{body['code']}: {body['detail']}")
    return body


def _follow(job: dict[str, Any], again: Callable[[], dict[str, Any]], bar: Bar) -> dict[str, Any]:
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while job["state"] in ("queued", "processing"):
        if time.monotonic() > deadline:
            raise NoPicture(f"Job {job['id']} is still {job['state']} after {GIVE_UP_SECONDS} seconds.")
        bar.show(job)
        time.sleep(POLL_SECONDS)
        job = again()
    bar.clear()
    if job["state"] != "succeeded":
        raise NoPicture(f"{job['error']['code']}: {job['error']['message']}")
    return job
