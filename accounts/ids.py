"""Identifiers: UUIDv7 inside, a prefixed base32 form outside.

UUIDv7 (RFC 9562) sorts by time, so new rows land at the end of an index. The public form is a prefix and
26 letters of Crockford's base32, for example `job_06ex9wvv4xv7n2qg2c4w1w8h8c`; it sorts the same way.
"""

import uuid
from enum import StrEnum

import uuid6

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
VALUES = {letter: value for value, letter in enumerate(ALPHABET)}
LENGTH = 26  # 130 bits hold the 128 of a UUID


class Prefix(StrEnum):
    JOB = "job"
    IMAGE = "img"
    WORKSPACE = "ws"
    KEY = "key"
    MEMBERSHIP = "mem"
    TEMPLATE = "tpl"
    GRANT = "grt"
    QUOTA = "quo"


class InvalidId(ValueError):
    """The text is not a public id of the wanted kind."""


def new_id() -> uuid.UUID:
    return uuid.UUID(int=uuid6.uuid7().int)


def public(prefix: Prefix, value: uuid.UUID) -> str:
    number = value.int
    letters = [ALPHABET[(number >> shift) & 31] for shift in range((LENGTH - 1) * 5, -1, -5)]
    return f"{prefix}_{''.join(letters)}"


def parse(prefix: Prefix, text: str) -> uuid.UUID:
    """The UUID behind a public id; raises InvalidId for any other text."""
    head, _, letters = text.partition("_")
    if head != prefix or len(letters) != LENGTH or any(letter not in VALUES for letter in letters):
        raise InvalidId(f"not a {prefix} id")
    number = 0
    for letter in letters:
        number = number * 32 + VALUES[letter]
    if number >= 1 << 128:
        raise InvalidId(f"not a {prefix} id")
    return uuid.UUID(int=number)
