"""`manage.py verify_ledger`: is every credit where the books say it is? Exit code 1 when anything is wrong."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing import ledger_checks
from inference import reconciliation


class Command(BaseCommand):
    help = "Recompute balances, grants, holds and charges from the ledger and compare them with jobs and pictures."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--without-pictures", action="store_true", help="do not read the stored pictures")

    def handle(self, *args: Any, **options: Any) -> None:
        with ledger_checks.snapshot():
            found = ledger_checks.verify() + reconciliation.verify_jobs()
        if not options["without_pictures"]:
            found += reconciliation.verify_pictures()
        for discrepancy in found:
            self.stdout.write(str(discrepancy))
        if found:
            raise CommandError("1 discrepancy." if len(found) == 1 else f"{len(found)} discrepancies.")
        self.stdout.write("The ledger is clean.")
