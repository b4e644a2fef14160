"""What an API key may be used for: scopes, models, sizes, networks, end. Checked after every cache.

Terms are given when a key is issued and never changed; another set of terms is another key.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from accounts.models import ApiKey, Scope

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

DEFAULT_SCOPES = tuple(scope for scope in Scope if scope != Scope.ADMIN)
# What a site's router hands to one customer; the bits below it change from hour to hour.
IPV6_PREFIX = 64
# Here an IPv6 address stands for an IPv4 one, so that its neighbours are strangers: RFC 4291, 6052, 8215, 4380, 3056.
IPV4_IN_IPV6 = tuple(
    map(ipaddress.IPv6Network, ("::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16"))
)
MAX_NETWORKS = MAX_MODELS = 100
MAX_CAP = 2**31 - 1  # what the columns hold


class InvalidTerms(ValueError):
    """The terms contradict themselves or are not well-formed; `field` says where."""

    def __init__(self, field: str, message: str) -> None:
        self.field, self.message = field, message
        super().__init__(f"{field}: {message}")


class BroaderThanGiver(Exception):
    """A key may only hand out what it has itself."""

    def __init__(self, field: str) -> None:
        self.field = field
        super().__init__(f"The new key's {field} would go beyond that of the key that makes it.")


class KeyForbids(Exception):
    """The key's own terms exclude the request, whatever the workspace may do."""

    def __init__(self, field: str, allowed: str) -> None:
        self.field, self.allowed = field, allowed
        super().__init__(f"{field}: this API key allows {allowed}.")


class NetworkForbidden(Exception):
    """The key may not be used from this address."""


@dataclass(frozen=True)
class Terms:
    """Empty tuples and None mean: no limit of the key's own. Raises InvalidTerms."""

    scopes: tuple[Scope, ...] = DEFAULT_SCOPES
    models: tuple[str, ...] = ()  # slugs
    networks: tuple[str, ...] = ()  # CIDR, or single addresses
    max_pixels: int | None = None  # width x height of one image
    max_steps: int | None = None
    max_images: int | None = None  # of one call
    requests_per_minute: int | None = None
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        if len(self.models) > MAX_MODELS:
            raise InvalidTerms("models", f"may name at most {MAX_MODELS} models.")
        if len(self.networks) > MAX_NETWORKS:
            raise InvalidTerms("networks", f"may name at most {MAX_NETWORKS} networks.")
        object.__setattr__(self, "networks", tuple(str(network(text)) for text in self.networks))
        for field in CAPS:
            value = getattr(self, field)
            if value is not None and not 1 <= value <= MAX_CAP:
                raise InvalidTerms(field, f"must be between 1 and {MAX_CAP}.")


CAPS = ("max_pixels", "max_steps", "max_images", "requests_per_minute")
NO_LIMITS = Terms()


def network(text: str) -> IPNetwork:
    """The network of a text such as `192.0.2.0/24`; a single IPv6 address stands for its /64."""
    if "%" in text:
        raise InvalidTerms("networks", "may name no zone such as %eth0, which only its own machine knows.")
    try:
        parsed = ipaddress.ip_network(text.strip())
    except ValueError:
        # Cut, because somebody may paste a key here, and its first letters are no secret.
        raise InvalidTerms("networks", f"{text[:20]!r} is not a network such as 192.0.2.0/24.") from None
    if parsed.version == 4:
        return parsed
    if "/" not in text:
        if mapped := parsed.network_address.ipv4_mapped:  # as callers' addresses are unwrapped too
            return ipaddress.IPv4Network(mapped)
        if any(parsed.subnet_of(one) for one in IPV4_IN_IPV6):
            raise InvalidTerms("networks", f"{text[:50]!r} stands for an IPv4 address. Name that one.")
        return parsed.supernet(new_prefix=IPV6_PREFIX)
    if parsed.prefixlen > IPV6_PREFIX:
        raise InvalidTerms("networks", f"an IPv6 network may be no smaller than a /{IPV6_PREFIX}.")
    return parsed


def of(key: ApiKey) -> Terms:
    return Terms(
        scopes=tuple(Scope(scope) for scope in key.scopes),
        models=tuple(key.allowed_models),
        networks=tuple(key.allowed_networks),
        expires_at=key.expires_at,
        **{field: getattr(key, field) for field in CAPS},
    )


def columns(terms: Terms) -> dict[str, Any]:
    """The terms as columns of ApiKey."""
    return {
        "scopes": [str(scope) for scope in terms.scopes],
        "allowed_models": list(terms.models),
        "allowed_networks": list(terms.networks),
        "expires_at": terms.expires_at,
        **{field: getattr(terms, field) for field in CAPS},
    }


def require_within(giver: Terms, new: Terms) -> None:
    """Raise BroaderThanGiver unless everything the new terms allow is allowed by the giver's."""
    if not set(new.scopes) <= set(giver.scopes):
        raise BroaderThanGiver("scopes")
    if giver.models and not (new.models and set(new.models) <= set(giver.models)):
        raise BroaderThanGiver("models")
    if giver.networks and not (new.networks and all(_is_inside(one, giver.networks) for one in new.networks)):
        raise BroaderThanGiver("networks")
    for field in (*CAPS, "expires_at"):
        most, asked = getattr(giver, field), getattr(new, field)
        if most is not None and (asked is None or asked > most):
            raise BroaderThanGiver(field)


def _is_inside(text: str, outer: Iterable[str]) -> bool:
    inner = network(text)
    return any(_contains(network(one), inner) for one in outer)


def _contains(outer: IPNetwork, inner: IPNetwork) -> bool:
    if isinstance(outer, ipaddress.IPv4Network):
        return isinstance(inner, ipaddress.IPv4Network) and inner.subnet_of(outer)
    return isinstance(inner, ipaddress.IPv6Network) and inner.subnet_of(outer)


def check_network(key: ApiKey, address: IPAddress | None) -> None:
    """Raise NetworkForbidden unless the key may be used from there; an unknown address is in no network."""
    if not key.allowed_networks:
        return
    if address is None or not any(address in network(text) for text in key.allowed_networks):
        raise NetworkForbidden


def check_model(key: ApiKey, slug: str) -> None:
    if key.allowed_models and slug not in key.allowed_models:
        raise KeyForbids("model", f"only {', '.join(key.allowed_models)}")


def check_generation(key: ApiKey, *, width: int, height: int, steps: int, images: int) -> None:
    """Raise KeyForbids for a request beyond the key's caps."""
    if key.max_pixels is not None and width * height > key.max_pixels:
        raise KeyForbids("width", f"at most {key.max_pixels} pixels, not {width} x {height}")
    if key.max_steps is not None and steps > key.max_steps:
        raise KeyForbids("num_inference_steps", f"at most {key.max_steps} steps, not {steps}")
    if key.max_images is not None and images > key.max_images:
        raise KeyForbids("num_images", f"at most {key.max_images} images in one call, not {images}")
