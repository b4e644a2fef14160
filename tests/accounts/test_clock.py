import time
from datetime import timedelta

import pytest

from accounts import clock

pytestmark = pytest.mark.django_db


class TestNow:
    def test_is_aware_and_in_utc(self) -> None:
        assert clock.now().utcoffset() == timedelta(0)

    def test_moves_inside_a_transaction(self) -> None:
        before = clock.now()

        time.sleep(0.005)

        assert clock.now() > before

    def test_is_finer_than_a_second(self) -> None:
        read = set()
        for _ in range(3):
            time.sleep(0.002)
            read.add(clock.now().microsecond)

        assert read != {0}
