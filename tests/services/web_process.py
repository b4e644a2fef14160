"""One web process, which may be killed and started again, and which may be one with a fault planted in it."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from tests.flows.processes import ROOT, START_SECONDS, free_port

PRODUCT = "gateway.asgi:application"


@dataclass
class WebProcess:
    """A uvicorn of one application, always on the same port."""

    port: int
    environment: dict[str, str]
    application: str
    process: subprocess.Popen[bytes]

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def start_again(self) -> None:
        """After `kill`."""
        self.process = _start(self.port, self.environment, self.application)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=15)


@contextlib.contextmanager
def web_process(environment: dict[str, str], application: str = PRODUCT) -> Iterator[WebProcess]:
    port = free_port()
    web = WebProcess(port, environment, application, _start(port, environment, application))
    try:
        yield web
    finally:
        web.stop()


def _start(port: int, environment: dict[str, str], application: str) -> subprocess.Popen[bytes]:
    command = ["-m", "uvicorn", application, "--http", "h11", "--ws", "none"]
    options = ["--no-proxy-headers", "--port", str(port), "--log-level", "critical"]
    process = subprocess.Popen(
        [sys.executable, *command, *options],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"http://127.0.0.1:{port}/livez", trust_env=False).status_code == 200:
                return process
        time.sleep(0.1)
    process.kill()
    raise AssertionError(f"{application} never served")
