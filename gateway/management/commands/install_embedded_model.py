"""`manage.py install_embedded_model`: put the model that ships with Atelier into the catalogue, with its price."""

from typing import Any

from django.core.management.base import BaseCommand

from gateway import embedded


class Command(BaseCommand):
    help = "Register the embedded model and publish its price, unless both are there."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"{embedded.install().label} is in the catalogue.")
