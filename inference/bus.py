"""Nudges between threads of one process. Losing one costs at most a polling interval, never correctness."""

import threading
from collections.abc import Callable


class Signal:
    """Calls every subscriber, in the sender's thread; subscribers must be quick and must not raise."""

    def __init__(self) -> None:
        self._subscribers: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def subscribe(self, subscriber: Callable[[], None]) -> Callable[[], None]:
        """Returns the function that ends the subscription."""
        with self._lock:
            self._subscribers.append(subscriber)
        return lambda: self._unsubscribe(subscriber)

    def _unsubscribe(self, subscriber: Callable[[], None]) -> None:
        with self._lock:
            self._subscribers = [other for other in self._subscribers if other is not subscriber]

    def send(self) -> None:
        with self._lock:
            subscribers = list(self._subscribers)
        for subscriber in subscribers:
            subscriber()


queue_changed = Signal()  # a job was queued or left the queue: the relay has something to do
job_ended = Signal()  # a job reached its end: waiters look now
