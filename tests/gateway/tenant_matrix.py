"""Every address of the API x every method, with own things, somebody else's, the other side's, and without a key.

The addresses come from the resolver, so a new one is covered or the tests fail and say: add an example. An example is
one way to call an address; `{places}` in it are filled with the fields of a `World`: the caller's own, or another's.
The calls are sent by whoever uses this module: to views in the test's process, or to a server.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

from tests.gateway.tenant_world import World

# Pages for people, documentation and probes: they serve no tenant's key.
NOT_FOR_KEYS = ("api/schema", "api/docs", "accounts/", "livez", "readyz", "static/")
METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True)
class Example:
    """One way to call an address, and what it answers to whoever may."""

    path: str
    body: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    shows: tuple[str, ...] = ()  # what a good answer holds
    foreign_status: int = 404  # when the places are filled with another's things
    own: tuple[str, ...] = ()  # places that are the caller's in any case
    needs_key: bool = True
    is_of_both_sides: bool = False  # a thing of the workspace, which its test side sees and uses too
    caller: str = "key"  # which of the world's keys calls it; a spare one where the call ends it


@dataclass(frozen=True)
class Call:
    """An example with its places filled."""

    method: str
    path: str
    key: str | None
    body: dict[str, Any] | None
    headers: dict[str, str]


@dataclass(frozen=True)
class Shown:
    """What an answer says: its status, and all of its headers and body as one text."""

    status: int
    text: str


Send = Callable[[Call], Shown]


def fill(method: str, example: Example, caller: World, owner: World, key: str | None) -> Call:
    places = {**vars(owner), **{name: getattr(caller, name) for name in example.own}}
    return Call(
        method,
        f"/{example.path.format_map(places)}",
        key,
        _filled(example.body, places),
        _filled(example.headers, places) or {},
    )


def _filled(body: dict[str, Any] | None, places: dict[str, Any]) -> dict[str, Any] | None:
    if body is None:
        return None
    return {name: text.format_map(places) if isinstance(text, str) else text for name, text in body.items()}


# --- The examples, in an order in which they leave each other's things in place -----------------

V1 = "api/v1/"
BOTH = {"is_of_both_sides": True}
QUOTA = {"unit": "images", "window": "day", "limit": 1_000_000}
MEMBERS = {"subject": "member", "subject_id": "{member}", **QUOTA}
KEYS = {"subject": "key", "subject_id": "{key_id}", **QUOTA}
MODEL = "fake"

EXAMPLES: dict[tuple[str, str], list[Example]] = {
    ("post", "api/v1/generations"): [
        Example(V1 + "generations", {"prompt": "a boat"}, status=202),
        Example(
            V1 + "generations",
            {"prompt": "a boat", "prompt_template": "{template}"},
            status=202,
            **BOTH,
        ),
        # Used for another body: of our own this is remembered, of others and the other side nothing is known.
        Example(
            V1 + "generations",
            {"prompt": "a boat"},
            {"Idempotency-Key": "{idempotency_key}"},
            status=422,
            foreign_status=202,
        ),
    ],
    ("post", "api/v1/quote"): [
        Example(V1 + "quote", {"prompt": "a boat"}),
        Example(V1 + "quote", {"prompt": "a boat", "prompt_template": "{template}"}, **BOTH),
    ],
    ("get", "api/v1/jobs"): [
        Example(V1 + "jobs?limit=100", shows=("{job}", "{queued_job}")),
        Example(V1 + "jobs?state=succeeded", shows=("{job}",)),
        Example(V1 + "jobs?after={queued_job}", shows=("{job}",), foreign_status=200, **BOTH),
    ],
    ("get", "api/v1/jobs/<str:job_id>"): [Example(V1 + "jobs/{job}", shows=("{job}", "{image}"))],
    ("post", "api/v1/jobs/<str:job_id>/cancel"): [
        Example(V1 + "jobs/{queued_job}/cancel", shows=("canceled",))
    ],
    ("get", "api/v1/images/<str:image_id>"): [Example(V1 + "images/{image}", shows=("{image}",))],
    ("delete", "api/v1/images/<str:image_id>"): [Example(V1 + "images/{spare_image}", status=204)],
    ("get", "files/<str:public_id>.<str:extension>"): [
        # The address is the right to open it, and it opens nothing else.
        Example("files/{file}?{file_query}", own=("file_query",), needs_key=False, **BOTH)
    ],
    ("get", "api/v1/models"): [Example(V1 + "models", shows=(MODEL,))],
    ("get", "api/v1/prompt-templates"): [Example(V1 + "prompt-templates", shows=("{template}",), **BOTH)],
    ("post", "api/v1/prompt-templates"): [
        # Another's name is free here, and saving under it touches nothing of theirs.
        Example(
            V1 + "prompt-templates",
            {"name": "{template}", "body": "{{{{prompt}}}}"},
            status=201,
            foreign_status=201,
            **BOTH,
        )
    ],
    ("get", "api/v1/usage"): [
        Example(
            V1 + "usage?group_by=key,member,end_user,day,model", shows=("{key_id}", "{member}", "{email}")
        ),
        Example(V1 + "usage?group_by=key,member&format=csv", shows=("{key_id}", "{member}", "{email}")),
        Example(V1 + "usage?group_by=key&key={key_id}", shows=("{key_id}",), foreign_status=200, **BOTH),
        Example(V1 + "usage?group_by=member&member={member}", shows=("{email}",), foreign_status=200, **BOTH),
        Example(V1 + "usage?end_user={end_user}", foreign_status=200, **BOTH),
    ],
    ("get", "api/v1/quotas"): [Example(V1 + "quotas", shows=("{quota}", "{spare_quota}"), **BOTH)],
    ("put", "api/v1/quotas"): [
        Example(
            V1 + "quotas",
            {"subject": "member", "subject_id": "{member}", **QUOTA},
            foreign_status=422,
            **BOTH,
        ),
        Example(
            V1 + "quotas", {"subject": "key", "subject_id": "{key_id}", **QUOTA}, foreign_status=422, **BOTH
        ),
    ],
    ("post", "api/v1/quotas/trial"): [
        Example(
            V1 + "quotas/trial",
            {"subject": "member", "subject_id": "{member}", **QUOTA},
            foreign_status=422,
            **BOTH,
        ),
        Example(
            V1 + "quotas/trial",
            {"subject": "key", "subject_id": "{key_id}", **QUOTA},
            foreign_status=422,
            **BOTH,
        ),
        Example(V1 + "quotas/trial", {"subject": "key", **QUOTA, "window": "total"}, shows=("{key_id}",)),
    ],
    ("delete", "api/v1/quotas/<str:quota_id>"): [Example(V1 + "quotas/{spare_quota}", status=204, **BOTH)],
    ("get", "api/v1/balance"): [Example(V1 + "balance", shows=("available_credits",))],
    ("get", "api/v1/workspace"): [Example(V1 + "workspace", shows=("{name}",), **BOTH)],
    ("patch", "api/v1/workspace"): [Example(V1 + "workspace", {"name": "Another name"}, **BOTH)],
    ("get", "api/v1/workspace/export"): [
        Example(V1 + "workspace/export", shows=("{job}", "{image}", "{key_id}", '"end"'), **BOTH)
    ],
    ("post", "api/v1/workspace/close"): [Example(V1 + "workspace/close", **BOTH)],
    ("post", "api/v1/workspace/reopen"): [Example(V1 + "workspace/reopen", **BOTH)],
    ("get", "api/v1/key"): [Example(V1 + "key", shows=("{key_id}",))],
    ("get", "api/v1/keys"): [
        Example(V1 + "keys", shows=("{key_id}", "{spare_key}")),
        Example(
            V1 + "keys?state=active&after={leaked_key_id}", shows=("{key_id}",), foreign_status=200, **BOTH
        ),
    ],
    ("post", "api/v1/keys"): [Example(V1 + "keys", {"name": "another"}, status=201)],
    ("get", "api/v1/keys/<str:key_id>"): [Example(V1 + "keys/{key_id}", shows=("{key_id}",))],
    ("post", "api/v1/keys/<str:key_id>/rotate"): [
        Example(V1 + "keys/{rotatable_key}/rotate", {}, status=201)
    ],
    ("delete", "api/v1/keys/<str:key_id>"): [Example(V1 + "keys/{spare_key}", shows=("revoked",))],
    ("post", "api/v1/key-leaks"): [
        # Whoever has a key's text may end it: that is what the address is for.
        Example(V1 + "key-leaks", {"key": "{leaked_key}"}, own=("leaked_key",), needs_key=False)
    ],
    ("post", "v1/images/generations"): [
        # Nobody draws here, so what is shown of its own is that the job goes on.
        Example("v1/images/generations", {"prompt": "a boat"}, status=504, shows=("job_",))
    ],
    ("get", "v1/models"): [Example("v1/models", shows=(MODEL,))],
    ("get", "v1/models/<path:name>"): [Example(f"v1/models/{MODEL}", shows=(MODEL,))],
    ("post", "api/v1/key/rotate"): [Example(V1 + "key/rotate", {}, status=201, caller="spare_caller")],
    ("delete", "api/v1/key"): [Example(V1 + "key", shows=("revoked",), caller="spare_caller")],
}


# --- The addresses ------------------------------------------------------------------------------


def addresses() -> list[tuple[str, str]]:
    """Method and route of everything that an API key opens."""
    found = [
        (method, route)
        for route, view in _routes(get_resolver().url_patterns, "")
        if route and not route.startswith(NOT_FOR_KEYS)
        for method in _methods(view)
    ]
    return sorted(found, key=lambda one: list(EXAMPLES).index(one) if one in EXAMPLES else -1)


def _routes(patterns: list[Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for pattern in patterns:
        route = f"{prefix}{pattern.pattern}"
        if isinstance(pattern, URLResolver):
            yield from _routes(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            yield route, pattern.callback


def _methods(view: Any) -> list[str]:
    view_class = getattr(view, "cls", None) or getattr(view, "view_class", None)
    return ["get"] if view_class is None else [name for name in METHODS if hasattr(view_class, name)]


def examples(method: str, route: str) -> list[Example]:
    """Fails for an address without one, which is how a new address makes itself known."""
    found = EXAMPLES.get((method, route), [])
    assert found, f"{method.upper()} {route} has no example: add one to tests/gateway/tenant_matrix.py"
    return found


# --- What must hold -----------------------------------------------------------------------------


def check_own(send: Send, mine: World, other: World) -> None:
    """The owner gets what is asked for. Without this the rest could pass by everything being refused."""
    for method, example in _examples():
        key = getattr(mine, example.caller) if example.needs_key else None
        call = fill(method, example, mine, mine, key)
        shown = send(call)
        assert shown.status == example.status, (call, shown)
        for text in example.shows:
            assert text.format_map(vars(mine)) in shown.text, (call, shown)
        _assert_holds_none_of(shown, call, other.marks)


def check_foreign(send: Send, mine: World, other: World) -> None:
    """With another workspace's things in the places: there is no such thing."""
    for method, example in _examples():
        own, call = (fill(method, example, mine, owner, mine.key) for owner in (mine, other))
        if own != call:
            shown = send(call)
            assert shown.status == example.foreign_status, (call, shown)
            _assert_holds_none_of(shown, call, other.marks)


def check_test_side(send: Send, mine: World, other: World) -> None:
    """With a key of the test side: what is of the live side is not there, neither one by one nor in lists."""
    for method, example in _examples():
        if example.is_of_both_sides or not example.needs_key:
            continue
        call, foreign = (fill(method, example, mine, owner, mine.test_key) for owner in (mine, other))
        if call != foreign:
            shown = send(call)
            assert shown.status == example.foreign_status, (call, shown)
        elif method == "get":
            _assert_holds_none_of(send(call), call, [*mine.live_marks, *other.marks])


def check_without_key(send: Send, mine: World) -> None:
    for method, example in _examples():
        if example.needs_key:
            shown = send(call := fill(method, example, mine, mine, None))
            assert shown.status == 401, (call, shown)


def _examples() -> Iterator[tuple[str, Example]]:
    return ((method, one) for method, route in addresses() for one in examples(method, route))


def _assert_holds_none_of(shown: Shown, call: Call, marks: list[str]) -> None:
    """What the caller sent may be repeated to it."""
    sent = f"{call.path} {call.body} {call.headers}"
    found = [mark for mark in marks if mark in shown.text and mark not in sent]
    assert not found, (call, found, shown)
