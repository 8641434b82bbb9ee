"""Logs on standard error: a constant message and fields, JSON where no person watches.

Ticket bodies, outputs of scripts and secrets are never logged.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog


def configure(*, level: str, as_json: bool) -> None:
    """Set up structlog and the standard library's logging for the whole process."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    render: list[Any] = (
        [_tracebacks(), structlog.processors.JSONRenderer()] if as_json else [_console()]
    )
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    _adopt_standard_logging(shared, render, max(number, logging.WARNING))


def _tracebacks() -> structlog.processors.ExceptionRenderer:
    """Without the local variables they usually show: those are tickets, and secrets."""
    bare = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return structlog.processors.ExceptionRenderer(bare)


def _console() -> structlog.dev.ConsoleRenderer:
    """For a person; with tracebacks that show no local variables either."""
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


def _adopt_standard_logging(shared: list[Any], render: list[Any], number: int) -> None:
    """Libraries log through the standard library; their warnings look like ours."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
