"""A Redis of the test's own, which may be frozen and killed."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.flows.processes import START_SECONDS, free_port


@dataclass
class RedisServer:
    """A redis-server process; what it holds is gone when it is killed."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def freeze(self) -> None:
        """It keeps its connections, takes new ones and answers nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def start_again(self) -> None:
        """An empty one on the same port, after `kill`."""
        self.process = _start(self.port, self.folder)


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    port = free_port()
    server = RedisServer(port, folder, _start(port, folder))
    try:
        yield server
    finally:
        server.thaw()
        server.kill()


def _start(port: int, folder: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    client = redis.Redis(port=port)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(redis.ConnectionError):
            if client.ping():
                return process
        time.sleep(0.05)
    process.kill()
    raise AssertionError("redis-server never answered")
