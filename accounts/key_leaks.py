"""Ending keys that were found where they do not belong. Whoever holds the whole text of a key may end it."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from urllib.parse import urlsplit

from accounts import api_keys, key_text, notices, tenancy
from accounts.audit import Event, Origin
from accounts.models import ApiKey, Membership
from accounts.notices import Notice
from accounts.roles import Action

MAX_KEYS = 100  # of one report; anybody may make one, and each key costs work


class TooManyKeys(ValueError):
    """A report names more keys than are looked up at once; none of them was touched."""

    def __init__(self) -> None:
        super().__init__(f"holds more than {MAX_KEYS} keys; report them in parts.")


class Outcome(StrEnum):
    REVOKED = "revoked"
    ALREADY_REVOKED = "already_revoked"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Reported:
    """What became of one key of a report, which is named by its public part."""

    prefix: str
    outcome: Outcome


def report(text: str, source: str, now: datetime, origin: Origin) -> list[Reported]:
    """Revoke every key in the text that is ours and tell the people concerned. Successors of a key stay.

    Raises TooManyKeys.
    """
    prefixes = {key_text.whole(match): match["prefix"] for match in key_text.find_in(text)}
    if len(prefixes) > MAX_KEYS:
        raise TooManyKeys
    keys = api_keys.find_all(prefixes)
    return [
        Reported(prefix, _end(keys.get(plain_text), source, now, origin))
        for plain_text, prefix in prefixes.items()
    ]


def end(plain_text: str, source: str, now: datetime, origin: Origin) -> Outcome:
    """Revoke one key by its whole text; `source` says where it was found."""
    return _end(api_keys.find(plain_text), source, now, origin)


def _end(key: ApiKey | None, source: str, now: datetime, origin: Origin) -> Outcome:
    if key is None:
        return Outcome.UNKNOWN
    with tenancy.writing(key.workspace_id):
        if not api_keys.revoke(key, now, origin, event=Event.KEY_LEAKED, host=_host(source)):
            return Outcome.ALREADY_REVOKED
        about = {"key_id": str(key.pk), "source": key_text.redact(source)}
        notices.put(Notice.KEY_LEAKED, key.workspace_id, _concerned(key), **about)
    return Outcome.REVOKED


def _host(source: str) -> str:
    """The audit stays for ever and keeps this alone: the rest may name a person, or hold the key itself."""
    try:
        host = urlsplit(source).hostname
    except ValueError:
        host = None  # where it was found is a hint; that it was found is what counts
    return key_text.redact(host or "")


def _concerned(key: ApiKey) -> list[Membership]:
    """Owners and admins, and the member whose key it was."""
    concerned: dict[uuid.UUID, Membership] = {
        member.pk: member for member in notices.managers_of(key.workspace_id, Action.MANAGE_KEYS)
    }
    if key.membership is not None and key.membership.removed_at is None:
        concerned[key.membership.pk] = key.membership
    return list(concerned.values())
