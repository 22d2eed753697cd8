"""Structured logs: one JSON object a line (or coloured text on a laptop), the request id on every line."""

import logging
import re
import sys
from typing import Any, NoReturn

import structlog

from app.core.config import settings

# One list for good: loggers keep the one they first met, and a new configuration shall reach them too.
_processors: list[structlog.typing.Processor] = []
# What PostgreSQL adds to an error quotes the row that caused it, and rows are personal.
_DETAIL = re.compile(r"\nDETAIL:.*?(?=\nCONTEXT:|\n\[SQL|\n\n(?:The above|During)|\Z)", re.DOTALL)


def configure_logs() -> None:
    """Send structlog and the standard library's loggers in one form to standard error."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if settings().log_json
        else structlog.dev.ConsoleRenderer()
    )
    # Our own lines go out straight: a LogRecord made, passed on and taken apart again costs four times the line.
    own: list[structlog.typing.Processor] = [structlog.stdlib.ProcessorFormatter.wrap_for_formatter]
    if settings().log_json:
        own = [structlog.processors.format_exc_info, _without_details, renderer, _write]
    _processors[:] = [structlog.stdlib.filter_by_level, *shared, *own]
    structlog.configure(
        processors=_processors,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _without_details,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings().log_level)
    logging.getLogger("uvicorn.access").disabled = True  # RequestEnvelope writes the one line per request


def _without_details(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if isinstance(trace := event.get("exception"), str):
        event["exception"] = _DETAIL.sub("", trace)
    return event


def _write(_logger: Any, _method: str, line: Any) -> NoReturn:
    """The end of the line, in one write, so that lines of several threads and processes never mix."""
    sys.stderr.write(f"{line}\n")
    raise structlog.DropEvent
