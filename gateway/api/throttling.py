"""How often a key and its workspace may call: taken after the key is known, before the body is read.

Calls that change something and calls that only look count apart, so that a client that follows its jobs never loses
the right to make new ones. A key's own limit counts what it changes, together with the keys it replaced; looking is
counted per workspace. Each side of a workspace has its own. Ending a key counts as nothing: whoever has lost one must
not wait.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from accounts import entitlements
from accounts.models import ApiKey
from gateway.api import context
from gateway.rate_limits import limiter
from gateway.rate_limits.buckets import Limit, Standing

if TYPE_CHECKING:
    from rest_framework.views import APIView  # importing it at run time would be a circle

WINDOW_SECONDS = 60
CHANGING = ("POST", "PUT", "PATCH", "DELETE")


class Kind(StrEnum):
    """What a call is counted as, by its method.

    A view whose POST makes nothing says so with `request_kind = Kind.POLL`, one with methods that are not counted names
    them in `uncounted_methods`.
    """

    CREATE = "create"
    POLL = "poll"


class RateLimited(Exception):
    """The key or its workspace has called too often; nothing was taken and nothing happened."""

    def __init__(self, standing: Standing) -> None:
        self.standing = standing


class RateLimitThrottle(BaseThrottle):
    """Puts the limits' standing on the answer, whatever it will be. Raises RateLimited."""

    def allow_request(self, request: Request, view: "APIView") -> bool:
        key = request.auth
        if not isinstance(key, ApiKey):
            return True  # addresses that need no key have `guards`
        if request.method in getattr(view, "uncounted_methods", ()):
            return True
        taken = limiter.take(_limits(key, _kind(request, view)))
        context.of(request).headers |= _headers(taken.standings)
        if not taken.is_allowed:
            raise RateLimited(taken.binding)
        return True


def _kind(request: Request, view: "APIView") -> Kind:
    by_method = Kind.CREATE if request.method in CHANGING else Kind.POLL
    kind: Kind = getattr(view, "request_kind", by_method)
    return kind


def _limits(key: ApiKey, kind: Kind) -> list[Limit]:
    """The buckets of one call; all have the workspace as their hash tag, as a Redis cluster wants it."""
    name = f"rate:{{{key.workspace_id}}}:{key.side}:{kind}"
    of_workspace = entitlements.of(key.workspace_id)
    if kind == Kind.POLL:
        return [Limit("workspace-reads", name, of_workspace.polls_per_minute)]
    limits = [Limit("workspace", name, of_workspace.requests_per_minute)]
    if key.requests_per_minute is not None:
        limits.insert(0, Limit("key", f"{name}:{key.lineage_id}", key.requests_per_minute))
    return limits


def _headers(standings: Sequence[Standing]) -> dict[str, str]:
    """Structured fields of draft-ietf-httpapi-ratelimit-headers-10: `r` calls may come now, one more in `t` seconds."""
    policies = [f'"{one.limit.policy}";q={one.limit.per_minute};w={WINDOW_SECONDS}' for one in standings]
    now = [f'"{one.limit.policy}";r={one.remaining};t={one.seconds_until_more}' for one in standings]
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(now)}
