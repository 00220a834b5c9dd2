"""Structured logs on stderr: one JSON object per line, or readable text; secrets' values never get in."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import orjson
import structlog

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")  # but for tabs
_SECRET_WORDS = ("password", "secret", "token", "authorization", "credential", "api_key")


def configure(level: str = "info", form: Literal["json", "text"] = "json", stream: TextIO | None = None) -> None:
    """Send structlog's entries, and the standard library's, to one stream (stderr); later calls replace earlier ones."""
    output = sys.stderr if stream is None else stream
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        redact,
    ]
    # Tracebacks are plain: prettier ones print local variables, which hold users' data and secrets.
    last: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(serializer=_json)
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=output.isatty(), exception_formatter=structlog.dev.plain_traceback)
    )
    traces: list[structlog.typing.Processor] = [structlog.processors.format_exc_info if form == "json" else _one_line]
    structlog.configure(
        processors=[*shared, *traces, last],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=output),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *traces, last])
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(_LEVELS[level], logging.WARNING))  # libraries speak only when something is wrong


def redact(_logger: Any, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank out values whose names say that they are secret."""
    for name in entry:
        if any(word in name.lower() for word in _SECRET_WORDS):
            entry[name] = "***"
    return entry


def _one_line(_logger: Any, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """In text, an event is one line that cannot steer a terminal, whatever somebody else has put into it."""
    entry["event"] = _CONTROL.sub(lambda found: repr(found[0])[1:-1], str(entry["event"]))
    return entry


def _json(entry: Any, **_options: Any) -> str:
    return orjson.dumps(entry, default=str).decode()
