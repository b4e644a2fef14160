"""Calls of the API share one thread for what little is synchronous around them, so no view of theirs may use it."""

from asgiref.sync import iscoroutinefunction
from django.urls import URLPattern, URLResolver, get_resolver

from gateway.asgi import API_PREFIXES


def _views(resolver: URLResolver, before: str = "/") -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for entry in resolver.url_patterns:
        address = f"{before}{entry.pattern}"
        if isinstance(entry, URLPattern):
            found.append((address, entry.callback))
        else:
            found += _views(entry, address)
    return found


def test_every_view_of_the_api_is_asynchronous() -> None:
    ours = [(address, view) for address, view in _views(get_resolver()) if address.startswith(API_PREFIXES)]

    assert len(ours) > 20
    assert [address for address, view in ours if not iscoroutinefunction(view)] == []
