"""`manage.py verify_audit`: is the audit log as it was sealed? Exit code 1 when anything is wrong."""

import fileinput
import itertools
import uuid
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts import audit_checks, clock, ids, tenancy
from accounts.audit_checks import Chain, Head
from accounts.management import workspace_argument


class Command(BaseCommand):
    help = "Compare the audit log with its seals, and the seals with the heads that a log tells."

    def add_arguments(self, parser: ArgumentParser) -> None:
        workspace_argument.add(parser, "--workspace", help="only this one, ws_...")
        parser.add_argument(
            "--heads",
            nargs="+",
            default=[],
            metavar="LOGFILE",
            help="our JSON log, kept elsewhere; - is stdin",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        only = options["workspace"]
        if only:
            workspace_argument.require(only)
        with tenancy.reading(tenancy.EVERY_WORKSPACE), _lines(options["heads"]) as lines:
            self._verify(only, lines if options["heads"] else None)
            for chain in audit_checks.chains(only):
                self.stdout.write(_told(chain))
        self.stdout.write("The audit log is as it was sealed.")

    def _verify(self, only: uuid.UUID | None, lines: Iterable[str] | None) -> None:
        count = 0
        try:
            heads = () if lines is None else _some(audit_checks.heads_in(lines))
            for discrepancy in audit_checks.verify(only, heads, clock.now()):
                count += 1
                self.stdout.write(str(discrepancy))
        except OSError as error:
            raise CommandError(str(error)) from error
        if count:
            raise CommandError("1 discrepancy." if count == 1 else f"{count} discrepancies.")


def _lines(files: list[str]) -> fileinput.FileInput[str]:
    return fileinput.FileInput(files, encoding="utf-8", errors="replace")


def _some(heads: Iterator[Head]) -> Iterator[Head]:
    """The same heads; a file without any would agree with every chain, so it is refused."""
    first = next(heads, None)
    if first is None:
        raise CommandError("The log tells no heads: is it ours, in JSON, with level INFO?")
    return itertools.chain([first], heads)


def _told(chain: Chain) -> str:
    head = chain.head
    owner = ids.public(ids.Prefix.WORKSPACE, head.workspace_id)
    return f"{owner}  events {chain.events}  head {head.number} {head.digest}"
