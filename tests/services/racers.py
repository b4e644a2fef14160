"""Client processes that post at the same time. Nothing of the product is imported here, so they start quickly."""

import contextlib
import http.client
import json
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

CLIENTS = 8
GENERATIONS = "/api/v1/generations"
RETRY_SECONDS = 60


@dataclass(frozen=True)
class Order:
    """One post of a generation."""

    key: str = field(repr=False)
    num_images: int = 1
    prompt: str = "a red boat"
    user: str = ""
    idempotency_key: str = ""

    @property
    def body(self) -> dict[str, Any]:
        user = {"user": self.user} if self.user else {}
        return {"prompt": self.prompt, "num_images": self.num_images, "seed": 7, **user}


class Answer(NamedTuple):
    order: Order
    status: int
    body: dict[str, Any]

    @property
    def outcome(self) -> str:
        """`202`, or status and code of a refusal."""
        return f"{self.status} {self.body.get('code', '')}".strip()


class Racers:
    """CLIENTS processes; each sends its orders to one of the addresses."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def start(
        self, urls: Sequence[str], orders: Sequence[Sequence[Order]], *, retry: bool = False
    ) -> "list[Future[list[Answer]]]":
        """Send each list from a process of its own; with `retry` until every order has an answer."""
        return [
            self._pool.submit(_send, urls[number % len(urls)], list(some), retry)
            for number, some in enumerate(orders)
        ]

    def race(
        self, urls: Sequence[str], orders: Sequence[Sequence[Order]], *, retry: bool = False
    ) -> list[Answer]:
        return finished(self.start(urls, orders, retry=retry))


def finished(runs: "Sequence[Future[list[Answer]]]") -> list[Answer]:
    return [answer for run in runs for answer in run.result()]


def each_sends(*orders: Order, times: int = 1) -> list[list[Order]]:
    """The same orders from every client, over and over."""
    return [list(orders) * times for _ in range(CLIENTS)]


def outcomes(answers: Sequence[Answer]) -> Counter[str]:
    return Counter(answer.outcome for answer in answers)


def accepted_images(answers: Sequence[Answer]) -> int:
    return sum(answer.order.num_images for answer in answers if answer.status == 202)


@contextlib.contextmanager
def racers() -> Iterator[Racers]:
    with ProcessPoolExecutor(CLIENTS, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield Racers(pool)


def _send(base_url: str, orders: Sequence[Order], retry: bool) -> list[Answer]:
    """Runs in a client process."""
    address = urlsplit(base_url)
    with contextlib.closing(http.client.HTTPConnection(address.netloc, timeout=120)) as connection:
        return [_answered(connection, order, retry) for order in orders]


def _answered(connection: http.client.HTTPConnection, order: Order, retry: bool) -> Answer:
    deadline = time.monotonic() + RETRY_SECONDS
    while True:
        try:
            return _post(connection, order)
        except (OSError, http.client.HTTPException):
            connection.close()
            if not retry or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _post(connection: http.client.HTTPConnection, order: Order) -> Answer:
    headers = {"Authorization": f"Bearer {order.key}"}
    if order.idempotency_key:
        headers["Idempotency-Key"] = order.idempotency_key
    connection.request("POST", GENERATIONS, json.dumps(order.body), headers)
    response = connection.getresponse()
    return Answer(order, response.status, json.loads(response.read()))
