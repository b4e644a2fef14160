"""Counts calls of those who have no key yet, by their address: sign-up, login, refused keys.

What has a key has its rate limit instead; here a fixed minute is good enough, of which two may meet at their edge. A
caller who is let through pays one count in the cache, and a good key not even that.
"""

import hashlib
from dataclasses import dataclass

from django.http import HttpRequest
from django_ratelimit.core import get_usage
from rest_framework.request import Request

from gateway.api import client_address

LEAST_SECONDS = 1


@dataclass(frozen=True)
class Guard:
    """So many calls a minute from one address, or for one login."""

    name: str
    per_minute: int


REFUSED_KEYS = Guard("refused-keys", 30)
KEY_LEAKS = Guard("key-leaks", 30)
SIGN_UP = Guard("sign-up", 10)
LOGIN = Guard("login", 20)
# Whoever guesses one person's password from many addresses; it also keeps that person out for the minute.
LOGIN_BY_NAME = Guard("login-by-name", 10)
PASSWORD_RESET = Guard("password-reset", 10)


class TooManyCalls(Exception):
    """This address has called too often without a key."""

    def __init__(self, guard: Guard, retry_after_seconds: int) -> None:
        self.guard, self.retry_after_seconds = guard, retry_after_seconds


class TooManyRefusedKeys(TooManyCalls):
    """This address has sent too many keys that do not exist."""


def count(request: HttpRequest | Request, guard: Guard) -> None:
    """Count a call of this address. Raises TooManyCalls."""
    _count(request, guard, client_address.group(client_address.find(request)))


def count_for_login(request: HttpRequest, guard: Guard, login: str) -> None:
    """Count a call that names this login, from wherever it comes. Raises TooManyCalls."""
    _count(request, guard, login.strip().lower())


def count_refused_key(request: HttpRequest | Request) -> None:
    """Count a malformed or unknown key of this address. Raises TooManyRefusedKeys."""
    try:
        count(request, REFUSED_KEYS)
    except TooManyCalls as error:
        raise TooManyRefusedKeys(error.guard, error.retry_after_seconds) from None


def _count(request: HttpRequest | Request, guard: Guard, caller: str) -> None:
    # The library joins the parts of its key without a separator, so this one must have a fixed length.
    digest = hashlib.sha256(caller.encode()).hexdigest()
    usage = get_usage(
        request,
        group=guard.name,
        key=lambda group, request: digest,
        rate=(guard.per_minute, 60),
        increment=True,
    )
    if usage["should_limit"]:
        raise TooManyCalls(guard, max(LEAST_SECONDS, usage["time_left"]))
