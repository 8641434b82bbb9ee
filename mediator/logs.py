"""Logs on standard error: a constant message and fields, JSON where no person watches.

Ticket bodies and secrets are never logged, and what scripts print only where `log.script_output`
wants it. docs/reference/logs.md lists every message. What strangers sent may be in a field: it is
cut at `LONGEST`, and does nothing to a terminal.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

LONGEST = 4096
"""Characters of a text in a line; the rest of a longer one is left out."""
_Fields = MutableMapping[str, Any]


def configure(*, level: str, as_json: bool) -> None:
    """Set up structlog and the standard library's logging for the whole process."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        _bounded,
    ]
    render: list[Any] = (
        [_tracebacks(), structlog.processors.JSONRenderer()] if as_json else [_visible, _console()]
    )
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: _Unfailing(sys.stderr),
        cache_logger_on_first_use=True,
    )
    _adopt_standard_logging(shared, render, max(number, logging.WARNING))


class _Unfailing(structlog.WriteLogger):
    """Writes lines, and loses them where they cannot be written.

    A full disk, or the reader of a pipe that has gone, costs lines of the log and no ticket: an
    error here would be one in the middle of whatever told something.
    """

    def msg(self, message: str) -> None:
        """Write one line."""
        with contextlib.suppress(OSError):
            super().msg(message)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


def _tracebacks() -> structlog.processors.ExceptionRenderer:
    """Without the local variables they usually show: those are tickets, and secrets."""
    bare = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return structlog.processors.ExceptionRenderer(bare)


def _console() -> structlog.dev.ConsoleRenderer:
    """For a person; with tracebacks that show no local variables either."""
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=_visible_traceback
    )


def _bounded(logger: object, method: str, fields: _Fields) -> _Fields:
    """A line that a log shipper takes, however much somebody sent."""
    del logger, method
    for name, value in fields.items():
        if isinstance(value, str) and len(value) > LONGEST:
            fields[name] = f"{value[:LONGEST]}… ({len(value)} characters)"
    return fields


def _visible(logger: object, method: str, fields: _Fields) -> _Fields:
    """Texts that do nothing to a terminal; other values are shown by `repr` anyway."""
    del logger, method
    for name, value in fields.items():
        if isinstance(value, str) and not value.isprintable():
            fields[name] = _escaped(value)
    return fields


def _visible_traceback(stream: TextIO, error: Any) -> None:
    written = io.StringIO()
    structlog.dev.plain_traceback(written, error)
    stream.write(_escaped(written.getvalue(), keep="\n\t"))


def _escaped(text: str, *, keep: str = "") -> str:
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)


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
