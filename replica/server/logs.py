"""Logs: structured, one JSON object per line, on standard error.

One canonical line says how a connection, a batch, a projection step or a sink step went, carrying
account, device, positions and event ids, so that one order can be followed through all of them.
JSON escapes control characters, so no name typed by a user can start a line of its own
(reliability I-26). Secrets are removed by key and by shape before anything is rendered.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable
from itertools import islice
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from replica.limits import LOG_EVENT_IDS_MAX, LOG_TEXT_CHARS_MAX

Logger = FilteringBoundLogger

REDACTED = "[redacted]"
_SECRET_KEYS = frozenset(
    {
        "admin_password",
        "authorization",
        "client_secret",
        "code_verifier",
        "cookie",
        "csrf",
        "database_url",
        "enrolment_code",
        "password",
        "refresh_token",
        "secret",
        "set_cookie",
        "token",
        "access_token",
    }
)
# A credential in a database URL, a bearer header, or a run of base64url too long to be anything
# but a token. Ids in logs are hexadecimal or shorter than this.
_SECRET_SHAPES = re.compile(
    r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)|(?i:bearer\s+)\S+"
    r"|(?<![A-Za-z0-9_-])(?=[A-Za-z0-9_-]*[G-Zg-z_-])[A-Za-z0-9_-]{40,}(?![A-Za-z0-9_-])"
)


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Structlog processor: mask secrets by key, then by shape, and cut endless texts."""
    return {
        key: REDACTED if key.lower() in _SECRET_KEYS else _clean(value)
        for key, value in event.items()
    }


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _SECRET_SHAPES.sub(REDACTED, value[:LOG_TEXT_CHARS_MAX])
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    return value


_SHARED: tuple[Any, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    redact,
)


def configure(level: str = "info", stream: TextIO | None = None) -> None:
    """Send every log line of this process, also those of libraries, to ``stream`` as JSON."""
    target = stream or sys.stderr
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*_SHARED, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(target),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=list(_SHARED),
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.WARNING))


def get_logger(**bound: Any) -> Logger:
    """A logger with ``bound`` on every line, of what was configured before."""
    # Made now: structlog would make one for each line, which costs as much as half of a line.
    return cast("Logger", structlog.get_logger(**bound).bind())


def event_ids(ids: Iterable[bytes]) -> list[bytes]:
    """The first ``LOG_EVENT_IDS_MAX`` ids: enough to follow an order, never a flood."""
    return list(islice(ids, LOG_EVENT_IDS_MAX))
