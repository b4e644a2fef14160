"""`manage.py export_workspace ws_... FILE.zip`: a workspace in one file. Exit code 1 if a picture is missing."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.management import workspace_argument
from gateway import workspace_archive


class Command(BaseCommand):
    help = "Write everything that is kept of a workspace, with its pictures, into a ZIP file."

    def add_arguments(self, parser: ArgumentParser) -> None:
        workspace_argument.add(parser, "workspace", help="the workspace's id, ws_...")
        parser.add_argument("file", type=Path, help="the file to write; it must not exist")

    def handle(self, *args: Any, **options: Any) -> None:
        workspace_argument.require(options["workspace"])
        try:
            written = workspace_archive.write(options["workspace"], options["file"])
        except OSError as error:
            raise CommandError(f"The file cannot be written: {error}") from error
        self.stdout.write(f"{options['file']}: {written.rows} rows, {len(written.files)} files")
        if written.missing:
            raise CommandError(f"Pictures that could not be read: {', '.join(written.missing)}")
