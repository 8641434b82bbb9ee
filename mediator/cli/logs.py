"""Logs of the commands that go on for long, by the settings.

A module of its own, because `shim` logs too and need not import the daemon for it.
"""

from __future__ import annotations

import sys

from mediator import logs
from mediator.settings.schema import LogFormat, Settings


def log_as_asked(loaded: Settings) -> None:
    """Set up logging by the settings."""
    as_json = logs_as_json(loaded.log.format, terminal=sys.stderr.isatty())
    logs.configure(level=loaded.log.level, as_json=as_json)


def logs_as_json(wanted: LogFormat, *, terminal: bool) -> bool:
    """Whether lines are JSON; `terminal`: standard error is one."""
    return wanted is LogFormat.JSON or (wanted is LogFormat.AUTO and not terminal)
