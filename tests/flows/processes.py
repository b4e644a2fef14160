"""Real processes for tests that must not be in one: the quickstart, and a server with fake models."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 90


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """A running process with what it printed so far."""

    process: subprocess.Popen[str]
    base_url: str
    data_dir: Path
    lines: list[str] = field(default_factory=list)

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first match in the output; fails when the process ends or takes too long."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if match := re.search(pattern, self.output):
                return match
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"never printed {pattern!r}; printed:\n{self.output}")

    def client(self, key: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.base_url, headers=headers, timeout=60, trust_env=False)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def _environment(data_dir: Path, port: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ATELIER_")}
    return kept | {"ATELIER_DATA_DIR": str(data_dir), "ATELIER_PUBLIC_URL": f"http://127.0.0.1:{port}"}


@contextlib.contextmanager
def running(data_dir: Path, *command: str) -> Iterator[Server]:
    """The command with a free port in place of PORT; ended with SIGTERM, then SIGKILL."""
    port = free_port()
    arguments = [part.replace("PORT", str(port)) for part in command]
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=_environment(data_dir, port),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    server = Server(process, f"http://127.0.0.1:{port}", data_dir)
    threading.Thread(target=_collect, args=(server,), daemon=True).start()
    try:
        yield server
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            server.kill()


def _collect(server: Server) -> None:
    assert server.process.stdout is not None
    for line in server.process.stdout:
        server.lines.append(line)


def quickstart(data_dir: Path, *options: str) -> contextlib.AbstractContextManager[Server]:
    return running(
        data_dir, "manage.py", "quickstart", "--port", "PORT", "--data-dir", str(data_dir), *options
    )


def fake_server(data_dir: Path) -> contextlib.AbstractContextManager[Server]:
    """Web, relay and worker on fake models; prints a JSON line with its keys when it serves."""
    return running(data_dir, "-m", "tests.flows.fake_server", "PORT")


def keys_of(server: Server) -> dict[str, str]:
    keys: dict[str, str] = json.loads(server.wait_for(r"\{\"rich\".*\}")[0])
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{server.base_url}/livez", trust_env=False).status_code == 200:
                return keys
        time.sleep(0.05)
    raise AssertionError(f"never served:\n{server.output}")


def manage(data_dir: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a management command on the data folder."""
    return subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=ROOT,
        env=_environment(data_dir, 8000),
        capture_output=True,
        text=True,
        check=False,
    )


def ended(client: httpx.Client, job_id: str, seconds: float = 60) -> dict[str, Any]:
    """The job once it is terminal."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        job: dict[str, Any] = client.get(f"/api/v1/jobs/{job_id}").json()
        if job["state"] not in ("queued", "processing"):
            return job
        time.sleep(0.05)
    raise AssertionError(f"{job_id} is still {job['state']} after {seconds} s")
