"""Puts the parts together, starts them, and stops them in reverse.

On SIGTERM or SIGINT nothing new is taken, what runs may end until the drain limit, then it is cut
short and pending again; a second signal cuts at once. SIGHUP reads the scripts again. A part that
dies takes the daemon with it: half a mediator would look alive and do nothing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

import structlog
import uuid_utils

from mediator.catalog.directory import ScriptsDirectory
from mediator.clock import SystemClock
from mediator.daemon.listening import Listener
from mediator.daemon.live_scripts import LiveScripts
from mediator.dispatch.attempt import AttemptMaker
from mediator.dispatch.dispatcher import Dispatcher
from mediator.dispatch.slots import Slots
from mediator.errors import StoreUnavailable
from mediator.metrics import Metrics
from mediator.model.signatures import Key, Verifier
from mediator.runners.process import ProcessRunner
from mediator.settings.secrets import Secrets, read_secrets
from mediator.settings.tree import Settings
from mediator.storage.store import SqliteStore
from mediator.web.app import make_api, make_health
from mediator.web.services import Holder, Services

_log = structlog.get_logger()
_LAST_ANSWERS = 5.0
"""Seconds that requests in progress get once everything they wait for has ended."""

Ready = Callable[[Mapping[str, object]], None]
"""Told once, when work is taken: the fields of the ready line."""


class Daemon:
    """One mediator."""

    def __init__(self, settings: Settings, *, environ: Mapping[str, str]) -> None:
        """Read the secrets. Raises `SettingsError`."""
        secrets = read_secrets(settings.auth)
        self._settings = settings
        self._clock = SystemClock()
        self._metrics = Metrics()
        self._store = SqliteStore(settings.store.path)
        self._scripts = LiveScripts(ScriptsDirectory(settings=settings))
        self._runner = ProcessRunner(settings.dispatch.work_directory)
        self._slots = self._make_slots()
        self._dispatcher = self._make_dispatcher(environ)
        self._services = self._make_services(secrets)
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self, ready: Ready) -> None:
        """Serve until a signal. Raises `SettingsError` when a part cannot start."""
        async with AsyncExitStack() as stack:
            self._on_signals()
            await self._store.start()
            stack.push_async_callback(self._store.close)
            await self._scripts.start()
            await self._runner.start()
            stack.push_async_callback(self._runner.close)
            dispatching = asyncio.create_task(self._dispatcher.run(), name="dispatcher")
            listeners = self._listeners()
            for listener in listeners.values():
                stack.push_async_callback(listener.close, _LAST_ANSWERS)
            urls = {name: await listener.open() for name, listener in listeners.items()}
            fields = {**urls, "pid": os.getpid(), "scripts": len(self._scripts.catalog.scripts)}
            _log.info("ready", **fields)
            ready(fields)
            await self._until_stopped(dispatching)
            await self._drain(dispatching)
        _log.info("stopped")

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
        task = asyncio.get_running_loop().create_task(self._scripts.reload(), name="reload")
        task.add_done_callback(lambda _: self._store.notices.work())

    async def _until_stopped(self, dispatching: asyncio.Task[None]) -> None:
        """Return on a signal; raise what the dispatcher raised if it dies."""
        stopped = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            await asyncio.wait({stopped, dispatching}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        if dispatching.done():
            dispatching.result()

    async def _drain(self, dispatching: asyncio.Task[None]) -> None:
        _log.info("draining", running=self._slots.busy)
        self._services.draining = True
        hurrying = asyncio.create_task(self._cut_when_hurried(), name="hurry")
        try:
            await self._dispatcher.stop(drain=self._settings.dispatch.drain)
            await dispatching
        finally:
            hurrying.cancel()

    async def _cut_when_hurried(self) -> None:
        await self._hurry.wait()
        self._dispatcher.cut()

    def _listeners(self) -> dict[str, Listener]:
        http = self._settings.http
        apart = http.metrics_port is not None
        api = make_api(self._services, with_health=not apart)
        listeners = {"url": Listener(app=api, host=http.host, port=http.port, key="http.port")}
        if http.metrics_port is not None:
            listeners["metrics_url"] = Listener(
                app=make_health(self._services),
                host=http.host,
                port=http.metrics_port,
                key="http.metrics_port",
            )
        return listeners

    def _make_slots(self) -> Slots:
        dispatch = self._settings.dispatch
        self._metrics.slots.labels("trigger").set(dispatch.slots)
        self._metrics.slots.labels("interactive").set(dispatch.interactive_slots)
        slots = Slots(trigger=dispatch.slots, interactive=dispatch.interactive_slots)
        running = self._metrics.running
        running.labels("trigger").set_function(lambda: slots.running(interactive=False))
        running.labels("interactive").set_function(lambda: slots.running(interactive=True))
        return slots

    def _make_dispatcher(self, environ: Mapping[str, str]) -> Dispatcher:
        maker = AttemptMaker(
            store=self._store,
            runner=self._runner,
            metrics=self._metrics,
            clock=self._clock,
            daemon_environment=dict(environ),
        )
        return Dispatcher(
            owner=f"{socket.gethostname()}-{os.getpid()}-{uuid_utils.uuid4().hex[:8]}",
            store=self._store,
            scripts=self._scripts,
            slots=self._slots,
            maker=maker,
            metrics=self._metrics,
            clock=self._clock,
        )

    def _make_services(self, secrets: Secrets) -> Services:
        auth = self._settings.auth
        keys = [
            Key(id=key.id, secret=secrets.keys[key.id].reveal().encode(), scripts=key.scripts)
            for key in auth.keys
        ]
        return Services(
            store=self._store,
            scripts=self._scripts,
            verifier=Verifier(keys, window=auth.window),
            holders=tuple(
                Holder(name=token.name, role=token.role, secret=secrets.tokens[token.name])
                for token in auth.tokens
            ),
            metrics=self._metrics,
            clock=self._clock,
            body_limit=self._settings.http.body_limit,
            deduplicate=self._settings.dispatch.deduplicate,
            checks={"store": self._check_store, "dispatcher": self._check_dispatcher},
        )

    async def _check_store(self) -> str:
        try:
            await self._store.probe()
        except StoreUnavailable as error:
            return error.detail
        return ""

    async def _check_dispatcher(self) -> str:
        return "" if self._dispatcher.alive else "it has not looked for work for a while"
