"""Typed readers of environment variables: a bad value stops the start with a sentence that names it."""

import os
from enum import StrEnum
from typing import TypeVar

from django.core.exceptions import ImproperlyConfigured

Choice = TypeVar("Choice", bound=StrEnum)


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def integer(name: str, default: int, *, least: int = 0) -> int:
    raw = text(name)
    try:
        value = int(raw) if raw else default
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {raw!r}.") from None
    if value < least:
        raise ImproperlyConfigured(f"{name} must be at least {least}, not {value}.")
    return value


def boolean(name: str, default: bool) -> bool:
    raw = text(name).lower()
    if raw in ("1", "true", "yes", "on"):
        return True
    if raw in ("0", "false", "no", "off"):
        return False
    if raw:
        raise ImproperlyConfigured(f"{name} must be true or false, not {raw!r}.")
    return default


def words(name: str, default: tuple[str, ...] = ()) -> list[str]:
    """A comma-separated list; blanks around and empty members are dropped."""
    members = [word.strip() for word in text(name).split(",")]
    return [word for word in members if word] or list(default)


def choice(name: str, choices: type[Choice], default: Choice) -> Choice:
    raw = text(name)
    try:
        return choices(raw) if raw else default
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(choices)}, not {raw!r}.") from None


def keys(name: str, default: str) -> dict[str, str]:
    """Rotatable secrets as `id:secret,id:secret`; the first is used for new values.

    A bare secret is given the id "1".
    """
    if not text(name):
        return {"1": default}
    pairs: dict[str, str] = {}
    for member in words(name):
        key_id, _, secret = member.partition(":") if ":" in member else ("1", "", member)
        if key_id in pairs:
            raise ImproperlyConfigured(f"{name} has the id {key_id!r} twice.")
        pairs[key_id] = secret
    if not all(pairs.values()):
        raise ImproperlyConfigured(f"{name} has an empty secret.")
    return pairs
