"""When each key was last used: noted in memory on every call, written to all its rows together now and then.

The time of a process that is killed is lost with it, at most KEY_USE_SECONDS of use; a time is never lowered.
"""

import atexit
import threading
import time
import uuid
from datetime import datetime

import structlog
from django.conf import settings
from django.db import connection, models
from django.db.models import Case, F, Value, When
from django.db.models.functions import Coalesce, Greatest

from accounts import tenancy
from accounts.models import ApiKey

log = structlog.get_logger(__name__)

BATCH = 300  # keys in one statement; SQLite takes a thousand parameters
_noted: dict[uuid.UUID, datetime] = {}
_lock = threading.Lock()
_writer: threading.Thread | None = None


def note(key: ApiKey, now: datetime) -> None:
    """Remember that the key was used; costs no query."""
    with _lock:
        _keep(key.pk, now)
        if settings.KEY_USE_SECONDS and (_writer is None or not _writer.is_alive()):
            _start_writer()


def _keep(key_pk: uuid.UUID, at: datetime) -> None:
    _noted[key_pk] = max(at, _noted.get(key_pk, at))


def flush() -> int:
    """Write what was noted; returns for how many keys. What cannot be written now stays for the next time."""
    with _lock:
        waiting = dict(_noted)
        _noted.clear()
    keys, left = list(waiting), dict(waiting)
    try:
        for start in range(0, len(keys), BATCH):
            for key_pk in _write({key_pk: waiting[key_pk] for key_pk in keys[start : start + BATCH]}):
                del left[key_pk]
    finally:
        with _lock:
            for key_pk, at in left.items():
                _keep(key_pk, at)
    return len(waiting) - len(left)


def _write(times: dict[uuid.UUID, datetime]) -> set[uuid.UUID]:
    """Returns the keys that are done with: all but those whose rows somebody else is changing just now."""
    with tenancy.writing(tenancy.EVERY_WORKSPACE):
        rows = ApiKey.objects.across_workspaces().filter(pk__in=times)
        # Waits for nobody and so stands in nobody's way, in whichever order others lock their keys.
        free = set(rows.select_for_update(skip_locked=True, no_key=True).values_list("pk", flat=True))
        used = Case(
            *(When(pk=key_pk, then=Value(at)) for key_pk, at in times.items()),
            output_field=models.DateTimeField(),
        )
        rows.filter(pk__in=free).update(last_used_at=Greatest(Coalesce(F("last_used_at"), used), used))
        if len(free) == len(times):
            return free
        held = rows.exclude(pk__in=free)
        return times.keys() - set(held.values_list("pk", flat=True))  # with a deleted key we are done too


def _start_writer() -> None:
    global _writer
    if _writer is None:
        atexit.register(finish)
    _writer = threading.Thread(target=_write_on_and_on, name="key use", daemon=True)
    _writer.start()


def _write_on_and_on() -> None:
    while True:
        time.sleep(settings.KEY_USE_SECONDS)
        finish()


def finish() -> None:
    """Flush if that is possible, for a process that ends."""
    try:
        flush()
    except Exception as error:  # no call may suffer from this, and the next turn tries again
        log.warning("last use not written", error=type(error).__name__)
    finally:
        connection.close()
