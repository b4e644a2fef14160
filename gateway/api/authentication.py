"""Who is calling: an API key in the header of the caller's dialect. Cookies authenticate nothing here."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts import api_keys, key_terms, key_use, lookups
from accounts.models import ApiKey, Scope, Side
from gateway.api import client_address, context, guards
from inference.requests import Caller

if TYPE_CHECKING:
    from rest_framework.views import APIView  # importing it at run time would be a circle

# Words before the key that clients send; all mean the same to us.
SCHEMES = ("bearer", "token", "key")


class MissingKey(Exception):
    """The request carries no API key."""


class ScopeMissing(Exception):
    """The key is good but may not be used for this address."""

    def __init__(self, scope: str) -> None:
        self.scope = scope


class LiveKeyNeeded(Exception):
    """What concerns the whole workspace is not for a key of its test side."""


class ApiKeyAuthentication(BaseAuthentication):
    """Sets `request.auth` to the ApiKey. Raises MissingKey, KeyRefused or NetworkForbidden for the error table."""

    def authenticate(self, request: Request) -> tuple[Any, ApiKey]:
        presented, now = _presented(request), lookups.now()
        key = _key_behind(request, presented, now)
        key_terms.check_network(key, client_address.find(request))
        key_use.note(key, now)
        context.of(request).log_fields = {"key_id": key.key_id, "workspace_id": str(key.workspace_id)}
        return None, key


def _key_behind(request: Request, presented: str, now: datetime) -> ApiKey:
    """Only those who present what is no key of ours are counted, so good callers pay nothing for it."""
    try:
        return api_keys.authenticate(presented, now)
    except (api_keys.MalformedKey, api_keys.UnknownKey):
        guards.count_refused_key(request)
        raise


def _presented(request: Request) -> str:
    scheme, _, key = request.headers.get("Authorization", "").strip().partition(" ")
    if not key.strip() or scheme.lower() not in SCHEMES:
        raise MissingKey
    return key.strip()


class HasScope(BasePermission):
    """A view names the scope it needs in `scope`; without one any good key may call it."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        scope: Scope | None = getattr(view, "scope", None)
        if scope is not None and scope not in key_of(request).scopes:
            raise ScopeMissing(scope)
        return True


def key_of(request: Request) -> ApiKey:
    key = request.auth
    if not isinstance(key, ApiKey):
        raise MissingKey
    return key


def require_live(request: Request) -> None:
    """Raise LiveKeyNeeded for a key of the test side."""
    if key_of(request).side != Side.LIVE:
        raise LiveKeyNeeded


def caller(request: Request, dialect: str, end_user: str = "") -> Caller:
    """The caller of an authenticated request, as inference knows it."""
    key = key_of(request)
    return Caller(
        workspace_id=key.workspace_id,
        side=Side(key.side),
        api_key=key,
        membership=key.membership,
        dialect=dialect,
        request_id=context.of(request).request_id,
        end_user=end_user,
    )
