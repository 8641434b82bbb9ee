"""`mediator shim watch`: keeps the shim in SecureChange's pods."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Annotated

import typer

from mediator.cli import options
from mediator.cli.printing import show_line
from mediator.cli.serve import log_as_asked
from mediator.cli.shim_files import wanted
from mediator.cli.shim_keeping import cluster_of, selected
from mediator.clock import SystemClock
from mediator.keeper.page import served
from mediator.keeper.watching import Watch, Watching
from mediator.kubernetes_api import Cluster, api_client
from mediator.metrics.keeper import Keeper

_STOPPING = (signal.SIGINT, signal.SIGTERM)
MetricsPort = Annotated[
    int | None,
    typer.Option(
        "--metrics-port",
        min=0,
        max=65535,
        metavar="PORT",
        help="Serve /metrics, /livez and /readyz there, on http.host; 0 takes any free port.",
        show_default=False,
    ),
]


def watch(*, metrics_port: MetricsPort = None, config: options.Config = None) -> None:
    """Keep the shim's files in SecureChange's pods, until SIGTERM or Ctrl-C.

    Puts them back within seconds when a pod or its container has started again,
    and looks every shim.check_every whether somebody changed them. The settings
    and the scripts are read anew each time. Logs to stderr as serve does.
    """
    loaded = options.settings(config)
    log_as_asked(loaded)
    watching = Watching(
        selection=selected(loaded.shim),
        wanted=lambda: wanted(config),
        check_every=loaded.shim.check_every.total_seconds(),
    )
    wanted(config)  # what is wrong with them is said now
    asyncio.run(_watch(cluster_of(loaded.shim), watching, host=loaded.http.host, port=metrics_port))


async def _watch(cluster: Cluster, watching: Watching, *, host: str, port: int | None) -> None:
    counted, stop = Keeper(), _on_signals()
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(api_client(cluster))
        watch = Watch(api=api, settings=watching, counted=counted, clock=SystemClock())
        ready: dict[str, object] = {"pods": watching.selection.selector}
        if port is not None:
            number = await stack.enter_async_context(served(counted, host=host, port=port))
            ready["metrics_url"] = f"http://{host}:{number}"
        _announce(ready)
        await _until(stop, watch)


async def _until(stop: asyncio.Event, watch: Watch) -> None:
    """Watch until somebody asks for the end; a watch that dies ends the command."""
    running = asyncio.create_task(watch.run(), name="watch pods")
    asked = asyncio.create_task(stop.wait(), name="wait for a signal")
    try:
        await asyncio.wait({running, asked}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
    finally:
        for task in (running, asked):
            task.cancel()
        await asyncio.gather(running, asked, return_exceptions=True)


def _announce(fields: Mapping[str, object]) -> None:
    """The ready line, for whoever started it: one JSON object where no terminal is."""
    if not sys.stdout.isatty():
        show_line({"event": "ready", **fields})


def _on_signals() -> asyncio.Event:
    """Set when the end is asked for."""
    stop = asyncio.Event()
    for number in _STOPPING:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
