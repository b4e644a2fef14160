"""Client processes that call with one key, on and on, and remember when. Nothing of the product is imported here."""

import contextlib
import http.client
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

CLIENTS = 8
ADDRESS = "/api/v1/balance"
ACCEPTED = 200


@dataclass
class Calls:
    """What one client was answered; times are monotonic, which processes of a machine share."""

    statuses: Counter[int] = field(default_factory=Counter)
    last_accepted_at: float = 0.0
    after_switching: Counter[int] = field(default_factory=Counter)


class Callers:
    """CLIENTS processes that call with the key in a file until they are told to stop."""

    def __init__(self, pool: ProcessPoolExecutor, folder: Path) -> None:
        self._pool, self._key_file, self._stop_file = pool, folder / "key", folder / "stop"

    def use(self, key: str) -> None:
        """From their next call on, clients call with this key."""
        new = self._key_file.with_suffix(".new")
        new.write_text(key)
        new.replace(self._key_file)

    @contextlib.contextmanager
    def calling(self, urls: Sequence[str], key: str) -> Iterator[list[Calls]]:
        """Clients call all the while; the list is filled at the end."""
        self.use(key)
        self._stop_file.unlink(missing_ok=True)
        runs = [
            self._pool.submit(_call, urls[number % len(urls)], self._key_file, self._stop_file)
            for number in range(CLIENTS)
        ]
        calls: list[Calls] = []
        try:
            yield calls
        finally:
            self._stop_file.touch()
            calls += [run.result() for run in runs]


@contextlib.contextmanager
def callers(folder: Path) -> Iterator[Callers]:
    with ProcessPoolExecutor(CLIENTS, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(time.sleep, [0.2] * CLIENTS))  # all processes are there before anything is measured
        yield Callers(pool, folder)


def _call(base_url: str, key_file: Path, stop_file: Path) -> Calls:
    calls, first_key = Calls(), key_file.read_text()
    connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=60)
    while not stop_file.exists():
        key = key_file.read_text()
        connection.request("GET", ADDRESS, headers={"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        answer.read()
        calls.statuses[answer.status] += 1
        if key != first_key:
            calls.after_switching[answer.status] += 1
        if answer.status == ACCEPTED:
            calls.last_accepted_at = time.monotonic()
    connection.close()
    return calls
