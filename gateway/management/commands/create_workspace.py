"""`manage.py create_workspace EMAIL NAME`: a person, a workspace, credits and a key, until pages do it."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction

from accounts import api_keys, ids, workspaces
from accounts.key_terms import Terms
from accounts.models import Scope, User
from billing import ledger
from billing.models import Source
from gateway import onboarding


class Command(BaseCommand):
    help = "Create a workspace for a person, with promotional credits, and print its first API key once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email", help="the owner; a new person sets a password by the reset page")
        parser.add_argument("name", help="the workspace's name")
        parser.add_argument("--credits", type=int, default=0, help="promotional credits to start with")
        parser.add_argument("--admin", action="store_true", help="the key may manage keys and the workspace")

    def handle(self, *args: Any, **options: Any) -> None:
        email = options["email"].lower()
        with transaction.atomic():
            owner = User.objects.filter(email=email).first() or User.objects.create_user(email)
            workspace = onboarding.open_workspace(options["name"], owner)
            public_id = ids.public(ids.Prefix.WORKSPACE, workspace.pk)
            if options["credits"] > 0:
                ledger.grant(workspace.pk, options["credits"], Source.PROMOTIONAL, f"first:{public_id}")
            (membership,) = [
                one for one in workspaces.memberships_of(owner) if one.workspace_id == workspace.pk
            ]
            terms = Terms(scopes=tuple(Scope)) if options["admin"] else Terms()
            issued = api_keys.issue(workspace, "First key", membership=membership, terms=terms)
        self.stdout.write(f"Workspace  {public_id}\nAPI key    {issued.plain_text}")
