"""One launched attempt: waits for its end, or brings it about, and collects what it printed."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from mediator.model.attempts import Ended
from mediator.runners.channels import Channels
from mediator.runners.endings import Stopped, judge
from mediator.runners.pipes import Drain, Feed
from mediator.runners.port import Run
from mediator.runners.remains import kill_remains
from mediator.runners.supervision import Finished, Report, Supervision, Vanished

_PATIENCE = 10.0  # seconds for a supervisor to kill everything: twice what it allows itself
_log = structlog.get_logger(__name__)


class Attempt:
    """An attempt from its launch to its end."""

    def __init__(self, run: Run, directory: Path, channels: Channels) -> None:
        self.launcher_hangs = False
        """whether the order was never taken, known at the end"""
        self._run = run
        self._directory = directory
        self._stopped: Stopped | None = None
        self._report: Report | None = None
        self._supervision = Supervision(channels.status)
        self._stdout = Drain(channels.stdout, run.limits.output, _listener(run, "stdout"))
        self._stderr = Drain(channels.stderr, run.limits.output, _listener(run, "stderr"))
        self._stdin = Feed(channels.stdin, run.stdin)

    async def end(self, *, stop: asyncio.Event) -> Ended:
        """See it to its end; nothing of it is alive afterwards."""
        await self._wait(stop)
        if not self._over and self._stopped is None:
            self._stopped = Stopped.by_request() if stop.is_set() else Stopped.by_timeout(self._run)
            await self._stop(self._stopped)
        self._report = await self._settle()
        await self._drain()
        ending = judge(self._report, self._run, stopped=self._stopped)
        return Ended(
            **{field.name: getattr(ending, field.name) for field in dataclasses.fields(ending)},
            stdout=self._stdout.kept.output(),
            stderr=self._stderr.kept.output(),
        )

    def shut_down(self) -> None:
        """Have it killed because the runner closes."""
        self._stopped = self._stopped or Stopped.by_closing()
        self._supervision.kill()

    async def kill(self) -> None:
        """Kill everything at once, unless that is done, and wait until it is dead."""
        if self._report is None:
            await self._kill()
            self._report = await self._settle()

    def close(self) -> None:
        """Let go of pipes and supervisor."""
        self._supervision.close()
        for pipe in (self._stdin, self._stdout, self._stderr):
            pipe.close()

    @property
    def _over(self) -> bool:
        return self._supervision.end.done()

    async def _wait(self, stop: asyncio.Event) -> None:
        """Wait for its own end, but only until the timeout or `stop`."""
        stopping = asyncio.create_task(stop.wait(), name=f"stop {self._run.name}")
        either: set[asyncio.Future[Any]] = {self._supervision.end, stopping}
        try:
            await asyncio.wait(
                either, timeout=self._run.timeout, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            stopping.cancel()

    async def _stop(self, stopped: Stopped) -> None:
        self._supervision.terminate()
        await asyncio.wait({self._supervision.end}, timeout=self._run.grace)
        if not self._over:
            self._stopped = stopped.with_force(self._run)
            await self._kill()

    async def _kill(self) -> None:
        self._supervision.kill()
        await asyncio.wait({self._supervision.end}, timeout=_PATIENCE)

    async def _settle(self) -> Report:
        """What the supervisor said; without a word from it, kill what can be found."""
        if not self._over:
            self.launcher_hangs = not self._supervision.give_up()
            await asyncio.wait({self._supervision.end}, timeout=_PATIENCE)
        if not self._over:
            return Vanished(reason="the launcher does not react, so nothing is known of the script")
        report = self._supervision.end.result()
        if isinstance(report, Vanished) and self._supervision.script is not None:
            await self._kill_remains(self._supervision.script)
        elif isinstance(report, Finished):
            self._warn(report)
        return report

    async def _kill_remains(self, script: int) -> None:
        open_pipes = [pipe.inode for pipe in (self._stdout, self._stderr) if not pipe.ended.done()]
        killed = await asyncio.to_thread(kill_remains, script, self._directory, open_pipes)
        _log.error("attempt lost", killed=killed)

    def _warn(self, report: Finished) -> None:
        if report.leftovers:
            _log.warning("leftovers killed", leftovers=report.leftovers)
        if report.survivors:
            _log.error("not killed", survivors=report.survivors)

    async def _drain(self) -> None:
        """Read what is still in the pipes. Every writer is dead, so their end is near."""
        self._stdin.close()
        await asyncio.wait({self._stdout.ended, self._stderr.ended}, timeout=_PATIENCE)
        if not (self._stdout.ended.done() and self._stderr.ended.done()):
            _log.error("output has no end")


def _listener(run: Run, stream: str) -> Callable[[bytes], None] | None:
    return None if run.on_output is None else partial(run.on_output, stream)
