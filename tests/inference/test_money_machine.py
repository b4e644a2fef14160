"""A short walk of the machine. `python -m tests.long.money_machine` goes further, and shortens what it finds."""

from typing import Any

import pytest
from hypothesis import Phase, seed
from hypothesis import settings as Settings
from hypothesis.stateful import run_state_machine_as_test

from tests.inference import steps
from tests.inference.money_machine import SETTINGS, MoneyMachine

# To shorten a failing sequence takes minutes, so here it is shown as it came.
SHORT = Settings(SETTINGS, max_examples=6, stateful_step_count=50, phases=[Phase.generate])
ROUNDS, MOST_ROUNDS = 2, 8
# A walk that never came here has shown nothing.
REACHED = {
    "accepted",
    "submitted again",
    "submitted with old limits",
    "complete: succeeded",
    "fail: failed",
    "retry: queued",
    "recovered",
    "canceled",
    "expired",
    "broke in the middle",
    "changed the time zone",
    "refused: InsufficientCredit",
    "refused: ConcurrencyLimitReached",
    "refused: QuotaExceeded",
}


@pytest.mark.django_db
class TestMoney:
    def test_agrees_with_the_model_after_every_step(self, settings: Any) -> None:
        """Where a seed leads depends also on the numbers in our code, so the walk goes on until it came everywhere."""
        steps.judge(settings)
        MoneyMachine.tally.clear()

        for number in range(MOST_ROUNDS):
            if number < ROUNDS or REACHED - set(MoneyMachine.tally):
                run_state_machine_as_test(seed(number)(MoneyMachine), settings=SHORT)

        assert REACHED - set(MoneyMachine.tally) == set()
