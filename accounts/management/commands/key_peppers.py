"""`manage.py key_peppers`: which pepper the digests of live keys were made with, so that an old one can be retired."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from accounts import api_keys, clock


class Command(BaseCommand):
    help = "Count the live keys under each pepper of ATELIER_KEY_PEPPER, and name those that are not in it."

    def handle(self, *args: Any, **options: Any) -> None:
        counts = api_keys.live_by_pepper(clock.now())
        for place, pepper_id in enumerate(settings.KEY_PEPPERS):
            live = counts.pop(pepper_id, 0)
            self.stdout.write(f"{pepper_id}: {_keys(live)}, {_meaning(place, live)}")
        for pepper_id, live in sorted(counts.items()):
            self.stdout.write(
                f"{pepper_id}: {_keys(live)}, not in ATELIER_KEY_PEPPER, so nobody can use them"
            )


def _keys(count: int) -> str:
    return "1 live key" if count == 1 else f"{count} live keys"


def _meaning(place: int, live: int) -> str:
    if place == 0:
        return "makes new digests"
    return "still needed; a key moves to the first pepper when it is used" if live else "may be removed"
