"""Attempts in the foreground: the runner of production, stopped by Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from mediator.model.attempts import Ended
from mediator.runners.port import Run
from mediator.runners.warm import WarmRunner

_ALL_OUTPUT = 2**40
"""Bytes; no script prints so much, so nothing of what it prints is left out."""
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """An attempt that was made."""

    ended: Ended
    """with the whole output, whatever the policy keeps of it"""
    seconds: float
    stopped_by: signal.Signals | None = None
    """the signal that the person sent, not to the script but to this command"""


@asynccontextmanager
async def foreground() -> AsyncIterator[Foreground]:
    """Make attempts, in directories that are gone afterwards. Raises `SettingsError`."""
    with tempfile.TemporaryDirectory(prefix="mediator-run-") as directory:
        runner = WarmRunner(Path(directory))
        await runner.start()
        try:
            yield Foreground(runner)
        finally:
            await runner.close()


class Foreground:
    """Makes attempts until the person has enough.

    The first Ctrl-C ends the running script as a time-out would, the second kills it.
    """

    def __init__(self, runner: WarmRunner) -> None:
        self.stopped = asyncio.Event()
        """the person wants no more"""
        self._runner = runner
        self._stopped_by: signal.Signals | None = None
        self._stops: set[asyncio.Event] = set()
        self._killing: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        for number in _STOPPING:
            loop.add_signal_handler(number, self._asked_to_stop, number)

    async def make(self, run: Run, *, stop: asyncio.Event) -> Made:
        """Run it to its end; `stop` ends it before, as Ctrl-C does."""
        limits = run.limits.model_copy(update={"output": _ALL_OUTPUT})
        if self.stopped.is_set():
            stop.set()
        self._stops.add(stop)
        await self._runner.warm_up(run)  # so that it runs as it does in a mediator
        started = time.monotonic()
        try:
            ended = await self._runner.run(replace(run, limits=limits), stop=stop)
        finally:
            self._stops.discard(stop)
        seconds = time.monotonic() - started
        if self._killing is not None:
            await self._killing
        return Made(ended=ended, seconds=seconds, stopped_by=self._stopped_by)

    def _asked_to_stop(self, number: signal.Signals) -> None:
        if self._stopped_by is None:
            self._stopped_by = number
            self.stopped.set()
            for stop in self._stops:
                stop.set()
        elif self._killing is None:
            self._killing = asyncio.create_task(self._runner.close(), name="kill the script")
