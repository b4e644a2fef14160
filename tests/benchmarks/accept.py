"""`python -m tests.benchmarks.accept [--json] [--seconds N] [--rounds N]`: how fast jobs are accepted.

The product's own server in 2 processes on PostgreSQL and Redis, with everything on: keys, rate limits, two quotas,
idempotency keys, moderation, row-level security, the ledger. First over many workspaces, then all on one. In the same
run the references: a bare psycopg script that writes the same rows in one transaction, and an empty asynchronous view
behind the same server. No worker runs; what is accepted stays queued.
"""

import argparse
import contextlib
import functools
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.benchmarks import bare_accept, load
from tests.benchmarks.bare_accept import Place
from tests.flows.processes import ROOT, free_port
from tests.services.conftest import Fleet, start_fleet
from tests.services.redis_server import redis_server

SERVERS = 2
CONNECTIONS = 8  # of each of as many client processes as servers
WORKSPACES = 200
TICKS = os.sysconf("SC_CLK_TCK")
SEED = f"""
import django, json; django.setup()
from accounts import api_keys
from accounts.models import Entitlements
from billing import ledger
from billing.models import Grant
from gateway import onboarding
from inference import quotas
from inference.models import ModelVersion
from tests import factories
owner, version = factories.user("bench@example.com"), ModelVersion.objects.get(model_id="fake")
for number in range({WORKSPACES}):
    workspace = onboarding.open_workspace(f"Bench {{number}}", owner)
    Entitlements.objects.create(workspace=workspace, concurrent_jobs=10**9, requests_per_minute=10**9)
    ledger.grant(workspace.pk, 10**12, "promotional", f"bench:{{number}}")
    issued = api_keys.issue(workspace, "bench")
    quotas.set_limit(workspace.pk, "workspace", "", "credits", "month", 10**12)
    quotas.set_limit(workspace.pk, "key", "", "images", "day", 10**12)
    grant = Grant.objects.for_workspace(workspace).get(side="live")
    print(json.dumps([str(workspace.pk), str(issued.key.pk), str(issued.key.lineage_id), str(grant.pk), str(version.pk),
                      issued.plain_text]))
"""


def measure(seconds: float, rounds: int) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis = stack.enter_context(redis_server(folder))
        fleet = stack.enter_context(start_fleet(folder, web_processes=0, REDIS_URL=redis.url))
        database = fleet.web_database.rpartition("/")[2]
        seeded = [json.loads(line) for line in fleet.run("-c", SEED).splitlines() if line.startswith("[")]
        places = [Place(*row[:-1]) for row in seeded]
        keys = [row[-1] for row in seeded]
        servers = [stack.enter_context(_server(fleet)) for _ in range(SERVERS)]
        phases: dict[str, Callable[[], dict[str, Any]]] = {
            "empty view": lambda: _over_http(servers, database, seconds, empty_requests),
            "spread": lambda: _over_http(servers, database, seconds, functools.partial(posts, keys)),
            "hot workspace": lambda: _over_http(
                servers, database, seconds, functools.partial(posts, keys[:1])
            ),
            "bare spread": lambda: _bare(fleet, places, seconds),
            "bare hot workspace": lambda: _bare(fleet, places[:1], seconds),
        }
        _over_http(servers, database, 3, functools.partial(posts, keys))  # warms pools and caches
        runs = [{name: phase() for name, phase in phases.items()} for _ in range(rounds)]
        rss = [_rss_mb(server.pid) for server in servers]
    return _summary(runs) | {"web RSS in MB": rss}


# --- Requests -----------------------------------------------------------------------------------


def empty_requests(number: int) -> Iterator[bytes]:
    return itertools.repeat(load.request("GET", "/api/v1/empty", {}))


def posts(keys: list[str], number: int) -> Iterator[bytes]:
    """A connection's posts go round the workspaces, each connection from another start."""
    for count in itertools.count():
        key = keys[(number * 7 + count) % len(keys)]
        headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": f"{os.getpid()}-{number}-{count}"}
        body = {"prompt": f"a red boat number {count}", "seed": count, "user": f"user {count % 50}"}
        yield load.request("POST", "/api/v1/generations", headers, body)


# --- Running ------------------------------------------------------------------------------------


class Server:
    def __init__(self, process: "subprocess.Popen[bytes]", url: str) -> None:
        self.pid, self.url = process.pid, url

    def statements(self) -> int:
        return int(httpx.get(f"{self.url}/count", trust_env=False).json()["statements"])


@contextlib.contextmanager
def _server(fleet: Fleet) -> Iterator[Server]:
    port = free_port()
    command = ["-m", "uvicorn", "tests.benchmarks.accept_server:application", "--http", "h11", "--ws", "none"]
    options = ["--no-proxy-headers", "--no-access-log", "--port", str(port), "--log-level", "critical"]
    process = subprocess.Popen(
        [sys.executable, *command, *options],
        cwd=ROOT,
        env={**fleet.environment, "DATABASE_URL": fleet.web_database, "ATELIER_WEB_PROCESSES": str(SERVERS)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    server = Server(process, f"http://127.0.0.1:{port}")
    try:
        transport = httpx.HTTPTransport(retries=60)
        with httpx.Client(transport=transport, trust_env=False) as client:
            client.get(f"{server.url}/livez", timeout=30)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=15)


def _over_http(
    servers: list[Server], database: str, seconds: float, requests: load.Requests
) -> dict[str, Any]:
    pids = [server.pid for server in servers]
    statements, web, postgres = _statements(servers), _cpu_ms(pids), _cpu_ms(_postgres(database))
    answers = load.run(
        [server.url for server in servers],
        requests,
        seconds=seconds,
        processes=SERVERS,
        connections=CONNECTIONS,
    )
    count = sum(answers.statuses.values())
    assert set(answers.statuses) <= {200, 202}, answers.statuses
    return {
        "per second": count / answers.elapsed,
        "p50 ms": answers.percentile(0.50),
        "p95 ms": answers.percentile(0.95),
        "p99 ms": answers.percentile(0.99),
        "web CPU ms each": (_cpu_ms(pids) - web) / count,
        "PostgreSQL CPU ms each": (_cpu_ms(_postgres(database)) - postgres) / count,
        "statements each": (_statements(servers) - statements) / count,
    }


def _statements(servers: list[Server]) -> int:
    return sum(server.statements() for server in servers)


def _bare(fleet: Fleet, places: list[Place], seconds: float) -> dict[str, Any]:
    rate = bare_accept.run(
        fleet.environment["DATABASE_URL"], places, seconds=seconds, processes=SERVERS, threads=CONNECTIONS
    )
    return {"per second": rate}


def _postgres(database: str) -> list[int]:
    """The server processes of our connections, by the title that PostgreSQL gives them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            title = path.read_text()
            if title.startswith("postgres:") and f" {database} " in title:
                found.append(int(path.parent.name))
    return found


def _cpu_ms(pids: list[int]) -> float:
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total * 1000 / TICKS


def _rss_mb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024


# --- Telling ------------------------------------------------------------------------------------


def _summary(runs: list[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """The median of the rounds, and the ratios to the references of the same round."""
    phases = {
        name: {
            label: round(statistics.median(run[name][label] for run in runs), 2) for label in runs[0][name]
        }
        for name in runs[0]
    }

    def ratio(one: str, other: str) -> float:
        return round(statistics.median(run[one]["per second"] / run[other]["per second"] for run in runs), 3)

    ratios = {
        "hot workspace / bare hot workspace": ratio("hot workspace", "bare hot workspace"),
        "spread / empty view": ratio("spread", "empty view"),
        "spread / bare spread": ratio("spread", "bare spread"),
    }
    return {"rounds": len(runs), "phases": phases, "ratios": ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="JSON only, which is the default")
    parser.add_argument("--seconds", type=float, default=8, help="length of each phase")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(json.dumps(measure(options.seconds, options.rounds), indent=2))


if __name__ == "__main__":
    main()
