"""Structured logs on stderr: one JSON object a line, or coloured text on a terminal.

Event names are fixed words, everything that varies is a field. Keys, secrets, tokens and passwords in URLs are hidden
wherever they turn up.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any, TextIO

import structlog

request_id: ContextVar[str] = ContextVar("request_id", default="")  # of the request at hand; its lines carry it

_SECRETS = re.compile(
    r"kw_[A-Za-z0-9_-]{8,}"
    r"|whsec_[A-Za-z0-9+/=_-]+"
    r"|(?<=token=)[A-Za-z0-9_-]+"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"
    r"|(?i:(?<=bearer )|(?<=basic ))[A-Za-z0-9+/=._-]+"
)


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what sys.stderr is now, not to what it was when logging was set up: that may be closed."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def hide(text: str) -> str:
    """The text with everything that looks like a secret replaced."""
    return _SECRETS.sub("[hidden]", text)


def _hide_fields(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = hide(value)
    return event


def _add_request(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if (current := request_id.get()) != "":
        event.setdefault("request_id", current)
    return event


def setup(level: str = "INFO") -> None:
    """Send everything that this process logs, also through the standard library, to stderr in one form."""
    shared: list[Any] = [
        _add_request,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    terminal = sys.stderr.isatty()
    last: list[Any] = (
        [_hide_fields, structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if terminal
        else [structlog.processors.format_exc_info, _hide_fields, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        cache_logger_on_first_use=True,
    )
    handler = _Stderr()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("alembic", "httpx", "httpcore", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # It warns of every tick that finds the last one still at work, which is how ticks are meant.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)


def get(name: str) -> Any:
    """A logger; use: log.info("window_evaluated", model=…)."""
    return structlog.stdlib.get_logger(name)
