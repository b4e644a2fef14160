"""A load generator that costs little: keep-alive connections, requests that are bytes already, answers hardly read.

On a machine with two cores an ordinary HTTP client would take more of them than the server that is measured.
"""

import asyncio
import json
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

Requests = Callable[[int], Iterator[bytes]]


@dataclass
class Answers:
    """What came back: how many of each status, and how long each took."""

    statuses: dict[int, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    elapsed: float = 0.0

    def add(self, other: "Answers") -> None:
        for status, count in other.statuses.items():
            self.statuses[status] = self.statuses.get(status, 0) + count
        self.seconds += other.seconds
        self.elapsed = max(self.elapsed, other.elapsed)

    def percentile(self, share: float) -> float:
        """In milliseconds."""
        ordered = sorted(self.seconds)
        return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)


def request(method: str, path: str, headers: dict[str, str], body: Any = None) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: localhost",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    lines.append(f"Content-Length: {len(content)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def run(
    base_urls: Sequence[str], requests: Requests, *, seconds: float, processes: int, connections: int
) -> Answers:
    """So many connections of each process send one request after the other; process i to server i.

    `requests(number)` gives the requests of connection `number`; it must be picklable.
    """
    total = Answers()
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        urls = [base_urls[number % len(base_urls)] for number in range(processes)]
        start = time.time() + 1.5  # when the slowest process has been spawned
        runs = [
            pool.submit(_process, url, requests, number * connections, connections, start, seconds)
            for number, url in enumerate(urls)
        ]
        for done in runs:
            total.add(done.result())
    return total


def _process(
    url: str, requests: Requests, first: int, connections: int, start: float, seconds: float
) -> Answers:
    return asyncio.run(_connections(url, requests, first, connections, start, seconds))


async def _connections(
    url: str, requests: Requests, first: int, connections: int, start: float, seconds: float
) -> Answers:
    total = Answers()
    await asyncio.sleep(max(0.0, start - time.time()))
    began = time.monotonic()
    each = [_connection(url, requests(first + number), began + seconds) for number in range(connections)]
    for answers in await asyncio.gather(*each):
        total.add(answers)
    total.elapsed = time.monotonic() - began
    return total


async def _connection(url: str, requests: Iterator[bytes], until: float) -> Answers:
    answers, address = Answers(), urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    for sent in requests:
        started = time.monotonic()
        if started >= until:
            break
        writer.write(sent)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        status = int(head[9:12])
        answers.seconds.append(time.monotonic() - started)
        answers.statuses[status] = answers.statuses.get(status, 0) + 1
    writer.close()
    return answers
