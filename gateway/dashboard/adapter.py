"""allauth's hook: who signs up gets a workspace of their own."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.db import transaction
from django.http import HttpRequest

from accounts.models import User
from gateway import onboarding
from gateway.api import client_address


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:
        with transaction.atomic():
            saved: User = super().save_user(request, user, form, commit)
            onboarding.open_workspace(f"{saved.email.partition('@')[0][:60]}'s workspace", saved)
        return saved

    def get_client_ip(self, request: HttpRequest) -> str:
        """By this allauth counts what our own guards do not."""
        return client_address.group(client_address.find(request)).partition("/")[0]
