"""Nobody waits here: `wire.drawn` asks again instead."""

from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _no_wait(settings: Any) -> None:
    settings.MAX_WAIT_SECONDS = 0
