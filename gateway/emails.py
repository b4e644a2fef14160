"""Sends the mails that `accounts.notices` put into the outbox: each at least once, or the log says which was not.

A message is taken before its mail is sent, and gone after. Who dies in between leaves it taken; after TAKEN_FOR it is
free again, so a mail may come twice, with the same Message-ID.
"""

import itertools
import time
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.template.loader import render_to_string

from accounts import clock, outbox, tenancy
from accounts.models import Membership, OutboxMessage, Workspace
from accounts.notices import Notice
from accounts.outbox import Topic
from gateway import email_contents

log = structlog.get_logger(__name__)

BATCH = 50
RUN_SECONDS = 5  # a mail server that hangs must not keep other tasks of the same worker for long
MAX_TRIES = 10
FIRST_PAUSE = timedelta(seconds=30)  # doubled with every try: the last comes after about four hours
TAKEN_FOR = timedelta(minutes=10)


def deliver_waiting(now: datetime | None = None) -> int:
    """Send what is due; returns how many mails went out."""
    at = now or clock.now()
    outbox.requeue_stale(Topic.EMAIL, at - TAKEN_FOR)
    waiting = outbox.next_in_turn(Topic.EMAIL, "", BATCH, at)
    until = time.monotonic() + RUN_SECONDS
    in_time = itertools.takewhile(lambda message: time.monotonic() < until, waiting)
    return sum(_deliver(message, at) for message in in_time if _take(message, at))


def _take(message: OutboxMessage, now: datetime) -> bool:
    """Whether the message is ours now. Counts the try before it is made: one that kills us must end too."""
    message.payload["tries"] = message.payload.get("tries", 0) + 1
    free = OutboxMessage.objects.filter(pk=message.pk, published_at__isnull=True)
    return bool(free.update(published_at=now, payload=message.payload))


def _deliver(message: OutboxMessage, now: datetime) -> bool:
    try:
        mail = _written(message)
        if mail is not None:
            mail.send()
    except Exception as error:  # whatever fails, the other mails must go
        _postpone(message, now, error)
        return False
    outbox.done(Topic.EMAIL, message.key)
    return mail is not None


def _postpone(message: OutboxMessage, now: datetime, error: Exception) -> None:
    tries = message.payload["tries"]
    about = {"notice": message.payload["notice"], "workspace_id": str(message.workspace_id), "tries": tries}
    if tries >= MAX_TRIES:
        outbox.done(Topic.EMAIL, message.key)
        log.error("email given up", **about, exc_info=error)
        return
    log.warning("email not sent", **about, error=type(error).__name__)
    again_at = now + FIRST_PAUSE * 2 ** (tries - 1)
    OutboxMessage.objects.filter(pk=message.pk).update(published_at=None, not_before_at=again_at)


def _written(message: OutboxMessage) -> EmailMessage | None:
    """The mail with what it tells as things are now; None when there is nobody left to tell, or nothing."""
    with tenancy.reading(message.workspace_id):
        workspace = Workspace.objects.filter(pk=message.workspace_id).first()
        to = _recipient(message)
        content = email_contents.of(Notice(message.payload["notice"]), message.workspace_id, message.payload)
    if workspace is None or to is None or content is None:
        return None
    return _mail(message, to, {"workspace": workspace, "public_url": settings.PUBLIC_URL, **content})


def _recipient(message: OutboxMessage) -> str | None:
    rows = Membership.objects.for_workspace(message.workspace_id).select_related("user")
    present = rows.filter(
        pk=message.payload["membership_id"], removed_at__isnull=True, user__is_active=True
    ).first()
    return present.user.email if present else None


def _mail(message: OutboxMessage, to: str, context: dict[str, Any]) -> EmailMessage:
    template = f"emails/{message.payload['notice']}"
    subject = render_to_string(f"{template}.subject.txt", context)
    host = urlsplit(settings.PUBLIC_URL).hostname or "localhost"
    return EmailMessage(
        subject=" ".join(subject.split()),  # a workspace's name must not begin a header of its own
        body=render_to_string(f"{template}.txt", context),
        to=[to],
        headers={"Message-ID": f"<{message.key}@{host}>", "Auto-Submitted": "auto-generated"},
    )
