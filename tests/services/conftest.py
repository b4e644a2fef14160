"""Real servers on a real PostgreSQL. Run with `pytest -m service`; ATELIER_TEST_POSTGRES names the server."""

import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.flows.processes import ROOT, START_SECONDS, free_port

POSTGRES = os.environ.get("ATELIER_TEST_POSTGRES", "postgres://postgres@127.0.0.1:5432")
SEED = """
import django; django.setup()
from django.core.management import call_command
from accounts import api_keys
from accounts.models import Entitlements
from billing import ledger
from gateway import onboarding
from tests import factories
call_command("migrate", verbosity=0)
factories.fake_model()
workspace = onboarding.open_workspace("Race", factories.user("race@example.com"))
Entitlements.objects.create(workspace=workspace, concurrent_jobs=100_000)
ledger.grant(workspace.pk, 1_000, "promotional", "race")
print(api_keys.issue(workspace, "race").plain_text)
"""


@dataclass(frozen=True)
class Fleet:
    """Two web processes on one database, no worker: what is accepted stays held."""

    base_urls: tuple[str, ...]
    key: str
    environment: dict[str, str]

    def manage(self, *command: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with _database() as url, contextlib.ExitStack() as stack:
        environment = {
            **os.environ,
            "DATABASE_URL": url,
            "ATELIER_DATA_DIR": str(tmp_path),
            "ATELIER_DEFAULT_MODEL": "fake",
            "DJANGO_SETTINGS_MODULE": "gateway.settings",
        }
        seeded = subprocess.run(
            [sys.executable, "-c", SEED],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        urls = tuple(stack.enter_context(_web(environment)) for _ in range(2))
        yield Fleet(urls, seeded.stdout.strip(), environment)


@contextlib.contextmanager
def _database() -> Iterator[str]:
    name = f"atelier_race_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(f"{POSTGRES}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
        try:
            yield f"{POSTGRES}/{name}"
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[arg-type]


@contextlib.contextmanager
def _web(environment: dict[str, str]) -> Iterator[str]:
    port = free_port()
    command = ["-m", "uvicorn", "gateway.asgi:application", "--http", "h11", "--ws", "none"]
    process = subprocess.Popen(
        [sys.executable, *command, "--port", str(port), "--log-level", "critical"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_alive(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=15)


def _wait_until_alive(base_url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{base_url}/livez", trust_env=False).status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError(f"{base_url} never served")
