"""structlog for everything: our events and those of the libraries leave as one JSON object a line.

A line never holds a prompt, a key or a signed address: events carry ids, and long values are cut.
"""

import logging
import sys
import traceback
from enum import StrEnum
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from accounts import key_text

MAX_VALUE_CHARACTERS = 400


class Format(StrEnum):
    JSON = "json"
    CONSOLE = "console"


def hide_keys(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """A key that somebody put into an address or a header of ours keeps only its public part."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = key_text.redact(value)
    return event


def cut_long_values(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """A hostile or careless value (1 MB, control characters) stays one short line."""
    for name, value in event.items():
        if isinstance(value, str) and len(value) > MAX_VALUE_CHARACTERS:
            event[name] = value[:MAX_VALUE_CHARACTERS] + f"... ({len(value)} characters)"
    return event


def tell_exception(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Types and places of an exception and its causes, without their messages.

    Messages quote values: a prompt that did not parse, the row that a constraint refused. The place is enough to
    find the fault, and the request id leads to the request.
    """
    info = event.pop("exc_info", None)
    error = sys.exc_info()[1] if info is True else info[1] if isinstance(info, tuple) else info
    told: list[dict[str, Any]] = []
    seen: set[int] = set()
    while isinstance(error, BaseException) and id(error) not in seen:
        seen.add(id(error))
        frames = traceback.extract_tb(error.__traceback__)
        told.append(
            {"type": type(error).__name__, "at": [f"{f.filename}:{f.lineno} {f.name}" for f in frames]}
        )
        error = error.__cause__ or error.__context__
    if told:
        event["fault"] = told
    return event


def name_asyncio_faults(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """asyncio writes an exception's message into its sentence; the type and place are told beside it."""
    if event.get("logger") == "asyncio" and event.get("level") in ("error", "critical"):
        event["event"] = "asyncio fault"
    return event


def configure(form: Format, level: str, file: str) -> None:
    """Send all lines of at least the level to standard error, or to the file if one is named."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        tell_exception,
        name_asyncio_faults,
        hide_keys,
        cut_long_values,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: Any = (
        structlog.processors.JSONRenderer() if form == Format.JSON else structlog.dev.ConsoleRenderer()
    )
    handler = logging.FileHandler(file, delay=True) if file else logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # Our own middleware writes the line of a request; Django's twin would repeat it with the query string.
    logging.getLogger("django.request").setLevel(logging.CRITICAL)
    logging.getLogger("uvicorn.access").setLevel(logging.CRITICAL)
    # Whoever asks for a host that is not ours is told so; with a trace in the log it would look like a fault of ours.
    logging.getLogger("django.security.DisallowedHost").setLevel(logging.CRITICAL)
    # A statement that fails in a pipeline raises; that the pipeline then ends is no news.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    for chatty in ("httpx", "httpcore", "PIL", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
