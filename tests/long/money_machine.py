"""`python -m tests.long.money_machine --steps 20000 [--seed N]`: a long walk of the machine over ledger and quotas.

Prints the seed, what was done how often, and the speed. If product and model disagree, it prints the shortest sequence
of calls that Hypothesis found for it and ends with 1. The same seed gives the same walk.
"""

import argparse
import logging
import os
import secrets
import sys
import time
import traceback

import django

STEPS_OF_AN_EXAMPLE = 100
EXAMPLES_AT_ONCE = 20


def walk(steps: int, first_seed: int) -> bool:
    """Whether product and model agreed all the way; each round has the next seed."""
    from hypothesis import seed
    from hypothesis import settings as Settings
    from hypothesis.stateful import run_state_machine_as_test

    from tests.inference.money_machine import SETTINGS, MoneyMachine

    rounds = Settings(SETTINGS, max_examples=EXAMPLES_AT_ONCE, stateful_step_count=STEPS_OF_AN_EXAMPLE)
    tally, number, started = MoneyMachine.tally, first_seed, time.monotonic()
    agreed = True
    while agreed and tally.total() < steps:
        try:
            run_state_machine_as_test(seed(number)(MoneyMachine), settings=rounds)
        except Exception as error:  # whatever the product raised that nobody expected is a finding, too
            agreed = False
            print(f"Found with --seed {number}:")
            traceback.print_exception(error, limit=-4)
        number += 1
        print(f"{tally.total():7} steps, next seed {number}", flush=True)
    for name, count in sorted(tally.items()):
        print(f"{count:7} {name}")
    seconds = time.monotonic() - started
    print(f"{tally.total():7} steps in {seconds:.0f} s from seed {first_seed}")
    return agreed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    arguments = parser.parse_args()
    os.environ.update(DJANGO_SETTINGS_MODULE="gateway.settings", DATABASE_URL="sqlite://:memory:")
    django.setup()
    logging.disable()

    from django.core.management import call_command
    from django.test import override_settings

    call_command("migrate", verbosity=0)
    fake = {"BACKEND": "inference.moderation.fake.FakeModeration", "OPTIONS": {}}
    with override_settings(LOOKUP_SECONDS=0, REDIS_URL="", ATELIER_MODERATION=fake):
        agreed = walk(arguments.steps, arguments.seed)
    print("Product and model agree." if agreed else "Product and model DISAGREE.")
    sys.exit(not agreed)


if __name__ == "__main__":
    main()
