"""`manage.py scan_for_keys PATH...`: find API keys of ours in files, folders or, with `-`, on standard input.

Keys are recognised by their checksum, without a database; only `--revoke` needs one. Printed is never more than a
key's public prefix. Exit code 1 when a key was found, 2 when none was but something could not be read.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError

from accounts import clock, key_leaks, key_scan, key_text
from accounts.audit import Origin
from accounts.key_scan import Found

STANDARD_INPUT = Path("-")
ORIGIN = Origin("scan_for_keys")


class Command(BaseCommand):
    help = "Find API keys in files by their checksum; --revoke ends those that exist here."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="file or folder; - is stdin")
        parser.add_argument("--revoke", action="store_true", help="revoke what is found and tell its owners")

    def handle(self, *args: Any, **options: Any) -> None:
        found, self.unreadable = 0, 0
        for path, one in self._found(options["paths"]):
            found += 1
            told = f": {_revoked(one, path)}" if options["revoke"] else ""
            self.stdout.write(f"{_shown(path)}:{one.line}: {one.prefix}{told}")
        if found:
            raise CommandError("1 key was found." if found == 1 else f"{found} keys were found.")
        if self.unreadable:
            raise CommandError("Not everything could be read.", returncode=2)
        self.stdout.write("No key was found.")

    def _found(self, paths: list[Path]) -> Iterator[tuple[Path, Found]]:
        for file in (file for path in paths for file in key_scan.files(path, self._complain)):
            try:
                with _opened(file) as stream:
                    yield from ((file, one) for one in key_scan.scan(stream))
            except OSError as error:
                self._complain(error)

    def _complain(self, error: OSError) -> None:
        self.unreadable += 1
        name = _shown(Path(error.filename)) if error.filename else "a file"
        self.stderr.write(f"{name}: cannot be read ({error.strerror})")


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    if file == STANDARD_INPUT:
        yield sys.stdin.buffer
        return
    with file.open("rb") as stream:
        yield stream


def _shown(path: Path) -> str:
    """A file's name may be no text at all, and may hold a key itself."""
    name = str(path).encode("utf-8", "backslashreplace").decode()
    return key_text.redact(name)


def _revoked(one: Found, path: Path) -> str:
    outcome = key_leaks.end(one.plain_text, f"{_shown(path)}:{one.line}", clock.now(), ORIGIN)
    return outcome.replace("_", " ")
