"""`manage.py find_prompt WS`: when, and by whom, was this prompt sent? It is read from standard input."""

import sys
import uuid
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import QuerySet

from accounts import keyring, tenancy
from accounts.keyring import ContentUnreadable
from accounts.management import workspace_argument
from accounts.models import AuditEvent


class Command(BaseCommand):
    help = (
        "List a workspace's audit events of a prompt. The prompt is read from standard input, because others on "
        "the machine see arguments; one line feed at its end does not count."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        workspace_argument.add(parser, "workspace", help="the workspace, ws_...")

    def handle(self, *args: Any, **options: Any) -> None:
        owner = options["workspace"]
        workspace_argument.require(owner)
        try:
            prompt = sys.stdin.buffer.read().decode().removesuffix("\n").removesuffix("\r")
            with tenancy.reading(owner):
                self._list(_of(owner, prompt))
        except (ContentUnreadable, UnicodeDecodeError) as error:
            raise CommandError(str(error)) from error

    def _list(self, events: QuerySet[AuditEvent]) -> None:
        count = 0
        for event in events.iterator():
            count += 1
            fields = (event.created_at.isoformat(), event.action, event.target, event.actor, event.request_id)
            self.stdout.write("  ".join(field or "-" for field in fields))
        self.stdout.write("1 event." if count == 1 else f"{count} events.")


def _of(workspace_id: uuid.UUID, prompt: str) -> QuerySet[AuditEvent]:
    """The prompt as it was drawn, with its template filled in: that is what was hashed."""
    sent = keyring.of(workspace_id).hash(prompt)
    mine = AuditEvent.objects.for_workspace(workspace_id)
    return mine.filter(prompt_hash=sent.digest, prompt_hash_key_id=sent.key_id).order_by("pk")
