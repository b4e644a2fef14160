"""How the quotas of a request stand, in the same structured fields as the rate limits.

After `"workspace";q=600;w=60` follows, say, `"images-month-key";q=1000`, with `r` left and `t` seconds until it starts
anew; a total never does and has no `t`. Written on accepted and on refused requests alike.
"""

import math
from collections.abc import Sequence
from datetime import datetime

from rest_framework.request import Request

from accounts import lookups
from accounts.quotas import QuotaState
from gateway.api import context


def note(request: Request, states: Sequence[QuotaState]) -> None:
    """Put the states on the answer, whoever draws it."""
    if not states:
        return
    now, headers = lookups.now(), context.of(request).headers
    told = {
        "RateLimit-Policy": [f'"{_name(state)}";q={state.limit.limit}' for state in states],
        "RateLimit": [f'"{_name(state)}";r={state.left}{_until(state, now)}' for state in states],
    }
    for name, members in told.items():
        headers[name] = ", ".join([*filter(None, [headers.get(name)]), *members])


def _name(state: QuotaState) -> str:
    limit = state.limit
    return f"{limit.unit}-{limit.window}-{limit.subject}".replace("_", "-")


def _until(state: QuotaState, now: datetime) -> str:
    if state.resets_at is None:
        return ""
    return f";t={max(0, math.ceil((state.resets_at - now).total_seconds()))}"
