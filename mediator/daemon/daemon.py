"""Starts the parts, watches over them, and stops them in reverse.

On SIGTERM or SIGINT nothing new is taken, what runs may end until the drain limit, then it is cut
short and pending again; a second signal cuts at once. SIGHUP reads all scripts again. A dispatcher,
catalog or cleaner that dies takes the daemon with it: half a mediator would look alive.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import NoReturn

import structlog

from mediator.daemon.assembly import assemble
from mediator.daemon.http_server import listeners
from mediator.daemon.service_manager import ServiceManager
from mediator.errors import MediatorError
from mediator.settings.schema import Settings

_log = structlog.get_logger()

_CLOSING = 20.0
"""Seconds that closing every part takes at most, when nothing runs any more."""
_LAG_EVERY = 0.5
"""Seconds between two looks at how late the event loop is."""

Ready = Callable[[Mapping[str, object]], None]
"""Told once, when work is taken: the fields of the ready line."""


class Daemon:
    """One mediator."""

    def __init__(self, settings: Settings, *, environ: Mapping[str, str]) -> None:
        """Make the parts. Raises `SettingsError` when a secret cannot be read."""
        self._settings = settings
        self._parts = assemble(settings, environ=environ)
        self._manager = ServiceManager.of(environ)
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._reloading: set[asyncio.Task[None]] = set()

    async def run(self, ready: Ready) -> None:
        """Serve until a signal.

        Raises `SettingsError` when a part cannot start, `MediatorError` when one died.
        """
        async with AsyncExitStack() as stack:
            self._on_signals()
            fields = await self._start(stack)
            dispatching = asyncio.create_task(self._parts.dispatcher.run(), name="dispatcher")
            stack.push_async_callback(_end, dispatching)
            following = asyncio.create_task(self._parts.scripts.run(), name="catalog")
            stack.push_async_callback(_end, following)
            cleaning = asyncio.create_task(self._parts.cleaner.run(), name="cleaner")
            stack.push_async_callback(_end, cleaning)
            lag = watch_lag(self._parts.metrics.process.lag.observe)
            watching = asyncio.create_task(lag, name="watch over the event loop")
            stack.push_async_callback(_end, watching)
            telling = self._manager.keep_informed(lambda: self._status(fields))
            informing = asyncio.create_task(telling, name="word to the service manager")
            stack.push_async_callback(_end, informing)
            _log.info("ready", **fields)
            ready(fields)
            self._manager.ready(self._status(fields))
            await self._until_stopped(dispatching, following, cleaning, watching, informing)
            await self._drain(dispatching)
        _log.info("stopped")

    async def _start(self, stack: AsyncExitStack) -> dict[str, object]:
        """Start what work needs, and listen; `stack` stops it. Returns the ready line's fields.

        Scripts begin to run only when all of this has succeeded.
        """
        parts = self._parts
        if parts.spans is not None:
            stack.push_async_callback(parts.spans.close)
        stack.push_async_callback(parts.store.close)
        await parts.store.start()
        stack.push_async_callback(parts.scripts.close)
        await parts.scripts.start()
        await parts.runners.start()
        stack.push_async_callback(parts.runners.close)
        parts.keep_warm()
        urls = {}
        for name, listener in listeners(self._settings.http, parts.services).items():
            stack.push_async_callback(listener.close)
            urls[name] = await listener.open()
        return {**urls, "pid": os.getpid(), "scripts": len(parts.scripts.catalog.scripts)}

    def stop(self) -> None:
        """Drain and end; called again: without draining."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    def _on_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    def _reload(self) -> None:
        task = asyncio.get_running_loop().create_task(self._read_scripts_again(), name="reload")
        self._reloading.add(task)  # an event loop alone does not keep its tasks alive
        task.add_done_callback(self._reloading.discard)

    async def _read_scripts_again(self) -> None:
        _log.info("reload asked")
        await self._parts.scripts.reload()

    async def _until_stopped(self, *working: asyncio.Task[None]) -> None:
        """Return on a signal. Raises `MediatorError` if one of these tasks dies."""
        stopped = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            await asyncio.wait({stopped, *working}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        for task in working:
            if task.done():
                _raise_death(task)

    def _status(self, fields: Mapping[str, object]) -> str:
        doing = "draining" if self._stop.is_set() else "taking work"
        return f"{doing} at {fields['url']}; attempts running: {self._parts.slots.busy}"

    def _longest_stop(self) -> float:
        """Seconds from now to the end, at most."""
        scripts = self._parts.scripts.catalog.scripts.values()
        limits = self._settings.dispatch
        grace = max([limits.grace, *(script.policy.grace for script in scripts)])
        return (limits.drain + grace).total_seconds() + _CLOSING

    async def _drain(self, dispatching: asyncio.Task[None]) -> None:
        parts = self._parts
        _log.info("draining", running=parts.slots.busy)
        status = f"draining; attempts running: {parts.slots.busy}"
        self._manager.stopping(status, seconds=self._longest_stop())
        parts.services.draining = True
        hurrying = asyncio.create_task(self._cut_when_hurried(), name="hurry")
        try:
            await parts.dispatcher.stop(drain=self._settings.dispatch.drain)
            await asyncio.wait({dispatching})
        finally:
            hurrying.cancel()
            parts.services.idle.set()
        if dispatching.exception() is not None:
            _raise_death(dispatching)

    async def _cut_when_hurried(self) -> None:
        await self._hurry.wait()
        _log.warning("draining cut short", running=self._parts.slots.busy)
        self._parts.dispatcher.cut()


def _raise_death(task: asyncio.Task[None]) -> NoReturn:
    part, error = task.get_name(), task.exception()
    _log.error("part died", part=part, exc_info=error)
    raise MediatorError(f"the {part} died of {error!r}; the log says where")


async def _end(task: asyncio.Task[None]) -> None:
    """Cut it if it still runs, and wait; how it ended was told before."""
    task.cancel()
    await asyncio.wait({task})


async def watch_lag(observe: Callable[[float], None], *, every: float = _LAG_EVERY) -> None:
    """Again and again tell how many seconds too late this was woken, until cancelled.

    Everything the daemon does waits for the event loop.
    """
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + every
        await asyncio.sleep(every)
        observe(max(0.0, loop.time() - due))
