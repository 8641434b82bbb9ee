"""One attempt in the foreground: the runner of production, stopped by Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from mediator.model.attempts import Ended
from mediator.runners.port import Run
from mediator.runners.process import ProcessRunner

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


async def make(run: Run) -> Made:
    """Run it to its end, in a directory that is gone afterwards. Raises `SettingsError`.

    The first Ctrl-C ends the script as a time-out would, the second kills it.
    """
    limits = run.limits.model_copy(update={"output": _ALL_OUTPUT})
    with tempfile.TemporaryDirectory(prefix="mediator-run-") as directory:
        runner = ProcessRunner(Path(directory))
        await runner.start()
        try:
            return await _Foreground(runner).make(replace(run, limits=limits))
        finally:
            await runner.close()


class _Foreground:
    def __init__(self, runner: ProcessRunner) -> None:
        self._runner = runner
        self._stop = asyncio.Event()
        self._stopped_by: signal.Signals | None = None
        self._killing: asyncio.Task[None] | None = None

    async def make(self, run: Run) -> Made:
        loop = asyncio.get_running_loop()
        for number in _STOPPING:
            loop.add_signal_handler(number, self._asked_to_stop, number)
        started = time.monotonic()
        ended = await self._runner.run(run, stop=self._stop)
        seconds = time.monotonic() - started
        if self._killing is not None:
            await self._killing
        return Made(ended=ended, seconds=seconds, stopped_by=self._stopped_by)

    def _asked_to_stop(self, number: signal.Signals) -> None:
        if self._stopped_by is None:
            self._stopped_by = number
            self._stop.set()
        elif self._killing is None:
            self._killing = asyncio.create_task(self._runner.close(), name="kill the script")
