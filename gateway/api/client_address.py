"""Where a request comes from: one answer for rate limits, keys' allowed networks and the audit.

Each proxy appends the peer it saw to `X-Forwarded-For`, so only its right end can be trusted: with n proxies of ours in
front, the client is the n-th from the right of that list and the peer. What stands further left, anybody may have
written. The server must not rewrite the peer's address itself (`--no-proxy-headers`).
"""

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request

from accounts import key_terms

Address = IPv4Address | IPv6Address

# Some proxies add the port; then an IPv6 address stands in brackets.
BRACKETED = re.compile(r"\[([^\]]*)\](?::[0-9]{1,5})?")
IPV4_WITH_PORT = re.compile(r"([0-9.]+):[0-9]{1,5}")
UNKNOWN = "unknown"


def find(request: HttpRequest | Request) -> Address | None:
    """The client's address; None when fewer proxies were passed than we have, or its entry cannot be read."""
    chain = [*request.META.get("HTTP_X_FORWARDED_FOR", "").split(","), request.META.get("REMOTE_ADDR", "")]
    place = len(chain) - 1 - settings.TRUSTED_PROXIES
    return _parse(chain[place].strip()) if place >= 0 else None


def _parse(text: str) -> Address | None:
    match = BRACKETED.fullmatch(text) or IPV4_WITH_PORT.fullmatch(text)
    try:
        address = ip_address(match[1] if match else text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        # The zone of a link-local address names an interface of ours, not the client.
        return address.ipv4_mapped or IPv6Address(int(address))
    return address


def group(address: Address | None) -> str:
    """Who is counted as one caller: an IPv4 address, an IPv6 network, or all whose address is unknown together."""
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address), key_terms.IPV6_PREFIX), strict=False))
    return str(address) if address else UNKNOWN
