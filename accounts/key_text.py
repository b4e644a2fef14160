"""What an API key looks like as text, with its checksum; needs neither a database nor a secret.

A key reads `atl_<side>_<id>_<secret><crc>`: id of 12 and secret of 32 base62 characters (190 random bits), then the
CRC-32 of all before it as 6 base62 characters, so that a typo or a key found in a text is recognised offline.
"""

import re
import secrets
import zlib
from collections.abc import Iterator

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID_LENGTH, SECRET_LENGTH, CHECKSUM_LENGTH = 12, 32, 6
_PREFIX = rf"atl_(?P<side>live|test)_(?P<key_id>[0-9A-Za-z]{{{ID_LENGTH}}})"
SHAPE = re.compile(
    rf"(?P<body>(?P<prefix>{_PREFIX})_[0-9A-Za-z]{{{SECRET_LENGTH}}})(?P<crc>[0-9A-Za-z]{{{CHECKSUM_LENGTH}}})"
)
LENGTH = len("atl_live__") + ID_LENGTH + SECRET_LENGTH + CHECKSUM_LENGTH
# Looks ahead instead of taking: what only resembles a key must not swallow the beginning of a real one.
_ANYWHERE = re.compile(f"(?={SHAPE.pattern})")
_SECRET = re.compile(rf"(?P<prefix>{_PREFIX})_[0-9A-Za-z]+")


def _base62(number: int, length: int) -> str:
    letters = ""
    for _ in range(length):
        number, rest = divmod(number, 62)
        letters = BASE62[rest] + letters
    return letters


def checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), CHECKSUM_LENGTH)


def random(length: int) -> str:
    return "".join(secrets.choice(BASE62) for _ in range(length))


def parse(presented: str) -> re.Match[str] | None:
    """The parts of a text that is a whole key, or None."""
    match = SHAPE.fullmatch(presented)
    return match if match and checksum(match["body"]) == match["crc"] else None


def find_in(text: str) -> Iterator[re.Match[str]]:
    """Every key of our making in a text, recognised by its checksum; `whole(match)` is its text."""
    for match in _ANYWHERE.finditer(text):
        if checksum(match["body"]) == match["crc"]:
            yield match


def whole(match: re.Match[str]) -> str:
    return f"{match['body']}{match['crc']}"


def redact(text: str) -> str:
    """The text with the secrets of keys left out, also of keys that are cut short or mistyped."""
    return _SECRET.sub(r"\g<prefix>_...", text)
