"""`mediator serve`: the daemon."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping

from mediator import logs
from mediator.cli.options import Config, settings
from mediator.daemon.daemon import Daemon
from mediator.settings.tree import LogFormat, Settings


def serve(config: Config = None) -> None:
    """Run the mediator until SIGTERM or Ctrl-C."""
    loaded = settings(config)
    log_as_asked(loaded)
    with asyncio.Runner() as runner:
        runner.run(_serve(loaded))


async def _serve(loaded: Settings) -> None:
    await Daemon(loaded, environ=os.environ).run(announce)


def log_as_asked(loaded: Settings) -> None:
    """Set up logging by the settings."""
    wanted = loaded.log.format
    as_json = wanted is LogFormat.JSON or (wanted is LogFormat.AUTO and not sys.stderr.isatty())
    logs.configure(level=loaded.log.level, as_json=as_json)


def announce(fields: Mapping[str, object]) -> None:
    """The ready line: a sentence on a terminal, else one JSON object."""
    if sys.stdout.isatty():
        line = f"mediator is ready at {fields['url']}"
    else:
        line = json.dumps({"event": "ready", **fields})
    print(line, flush=True)  # noqa: T201 - this is the command's output
