"""How a command is told which workspace it is about: `ws_...`."""

import uuid
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import CommandError

from accounts import ids, tenancy
from accounts.models import Workspace


def add(parser: ArgumentParser, name: str, **options: Any) -> None:
    """An argument whose value is the workspace's UUID."""
    parser.add_argument(name, type=_workspace_id, metavar="WS", **options)


def _workspace_id(text: str) -> uuid.UUID:
    try:
        return ids.parse(ids.Prefix.WORKSPACE, text)
    except ids.InvalidId:
        raise ArgumentTypeError("must be a workspace's id, which begins with ws_.") from None


def require(workspace_id: uuid.UUID) -> None:
    """Raise CommandError for a workspace that is not there."""
    with tenancy.reading(workspace_id):
        if not Workspace.objects.filter(pk=workspace_id).exists():
            raise CommandError("There is no such workspace.")
