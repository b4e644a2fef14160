"""The product's application on a machine whose clock is wrong by `WRONG_CLOCK_MINUTES`."""

import os
from datetime import UTC, datetime, timedelta

import time_machine

WRONG_BY = timedelta(minutes=int(os.environ["WRONG_CLOCK_MINUTES"]))
time_machine.travel(datetime.now(UTC) + WRONG_BY, tick=True).start()

from gateway.asgi import application as application  # noqa: E402
