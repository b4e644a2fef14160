"""Real servers on a real PostgreSQL. Run with `pytest -m service`; ATELIER_TEST_POSTGRES names the server."""

import contextlib
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from psycopg import sql

from tests.flows.processes import ROOT
from tests.services.redis_server import RedisServer, redis_server
from tests.services.web_process import web_process

POSTGRES = os.environ.get("ATELIER_TEST_POSTGRES", "postgres://postgres@127.0.0.1:5432")
WEB_PASSWORD = "web"
# What a shell may have set for our variables must not decide a test.
OURS = ("ATELIER_", "REDIS_URL", "CELERY_", "STRIPE_", "DATABASE_URL")
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
unlimited = {"concurrent_jobs": 100_000, "requests_per_minute": 60_000_000, "polls_per_minute": 60_000_000}
Entitlements.objects.create(workspace=workspace, **unlimited)
ledger.grant(workspace.pk, 1_000, "promotional", "race")
print(api_keys.issue(workspace, "race").plain_text)
"""


@dataclass(frozen=True)
class Fleet:
    """Two web processes on one database, no worker: what is accepted stays held.

    The web processes are a role that row-level security binds; `manage` and `run` are superuser, as commands are.
    """

    base_urls: tuple[str, ...]
    key: str
    environment: dict[str, str]
    web_database: str  # the database's address as the web processes have it

    def manage(self, *command: str) -> str:
        return self.run("manage.py", *command)

    def run(self, *arguments: str) -> str:
        """A Python process with the fleet's settings; `-c` and code, for what has no command."""
        done = _run(self.environment, *arguments)
        return done.stdout + done.stderr

    def client(self, number: int = 0, key: str = "") -> httpx.Client:
        """An HTTP client of one web process, with the fleet's key or another one."""
        headers = {"Authorization": f"Bearer {key or self.key}"}
        return httpx.Client(base_url=self.base_urls[number], headers=headers, timeout=120, trust_env=False)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with start_fleet(tmp_path) as started:
        yield started


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as started:
        yield started


@contextlib.contextmanager
def start_fleet(data_dir: Path, *, web_processes: int = 2, **environment: str) -> Iterator[Fleet]:
    """A fleet on a database of its own, with these environment variables for all of its processes."""
    with _web_role() as role, _database() as database, contextlib.ExitStack() as stack:
        common = {
            **{name: value for name, value in os.environ.items() if not name.startswith(OURS)},
            "DATABASE_URL": f"{POSTGRES}/{database}",
            "ATELIER_DATA_DIR": str(data_dir),
            "ATELIER_DEFAULT_MODEL": "fake",
            "DJANGO_SETTINGS_MODULE": "gateway.settings",
            **environment,
        }
        key = _succeeds(common, "-c", SEED).strip()
        _succeeds(common, "manage.py", "grant_web_role", role)
        web = {**common, "DATABASE_URL": _url_of(role, database)}
        urls = tuple(stack.enter_context(web_process(web)).base_url for _ in range(web_processes))
        yield Fleet(urls, key, common, web["DATABASE_URL"])


def _run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def _succeeds(environment: dict[str, str], *arguments: str) -> str:
    done = _run(environment, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextlib.contextmanager
def _database() -> Iterator[str]:
    name = sql.Identifier(f"atelier_race_{uuid.uuid4().hex[:8]}")
    with psycopg.connect(f"{POSTGRES}/postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
        try:
            yield name.as_string().strip('"')
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@contextlib.contextmanager
def _web_role() -> Iterator[str]:
    """A login that owns nothing. It is dropped after the database in which it has grants."""
    name = sql.Identifier(f"atelier_web_{uuid.uuid4().hex[:8]}")
    with psycopg.connect(f"{POSTGRES}/postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, WEB_PASSWORD))
        try:
            yield name.as_string().strip('"')
        finally:
            connection.execute(sql.SQL("DROP ROLE {}").format(name))


def _url_of(role: str, database: str) -> str:
    address = urlsplit(POSTGRES).netloc.rpartition("@")[2]
    return f"postgres://{role}:{WEB_PASSWORD}@{address}/{database}"
