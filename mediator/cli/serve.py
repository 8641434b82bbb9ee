"""`mediator serve`: the daemon."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping

import typer

from mediator.cli.logs import log_as_asked
from mediator.cli.options import Config, settings
from mediator.daemon.daemon import Daemon
from mediator.settings.schema import Settings

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: mediator serve --config /etc/mediator/mediator.yaml")
def serve(config: Config = None) -> None:
    """Run the mediator until SIGTERM or Ctrl-C.

    At the first signal nothing new is taken and what runs may end within
    dispatch.drain; at the second it is cut short, and made again at the next
    start. SIGHUP reads the scripts again. When it takes work it says so in one
    line on stdout, which is JSON where no terminal is.
    """
    loaded = settings(config)
    log_as_asked(loaded)
    with asyncio.Runner() as runner:
        runner.run(_serve(loaded))


async def _serve(loaded: Settings) -> None:
    await Daemon(loaded, environ=os.environ).run(announce)


def announce(fields: Mapping[str, object]) -> None:
    """The ready line: a sentence on a terminal, else one JSON object."""
    if sys.stdout.isatty():
        line = f"mediator is ready at {fields['url']}"
    else:
        line = json.dumps({"event": "ready", **fields})
    print(line, flush=True)  # noqa: T201 - this is the command's output
