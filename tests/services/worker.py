"""`python -m tests.services.worker`: relay, sweeper and worker of a fleet, until SIGTERM."""

import os
import signal
import threading

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
django.setup()

from inference.inprocess import Runtime  # noqa: E402


def main() -> None:
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    runtime = Runtime("race-worker")
    runtime.start()
    ending.wait()
    runtime.stop()


if __name__ == "__main__":
    main()
