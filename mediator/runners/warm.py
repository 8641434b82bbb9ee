"""The warm runner: an attempt is a fork of an interpreter that has its modules imported already.

It is the process runner, to which it leaves whatever cannot be a fork: programs that are not
Python, and scripts whose parent is not ready or not fit. See `warm_parent.py` for the forks.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mediator.runners.attempting import Attempt
from mediator.runners.launching import Launcher, LauncherFailed
from mediator.runners.parents import Kind, Parents
from mediator.runners.port import Run, Warm
from mediator.runners.process import ProcessRunner


class WarmRunner(ProcessRunner):
    """Runs each attempt as a fork where that is asked for and possible, else as a process."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._parents = Parents()

    def keep_warm(self, warm: Warm, environment: Mapping[str, str]) -> None:
        """Get ready, in the background, to fork what runs in this environment."""
        if self._open:
            self._parents.want(Kind.of(warm, environment))

    async def warm_up(self, run: Run) -> str:
        """Get ready to fork such a run, and wait. Why it cannot be, one sentence, or nothing."""
        if run.warm is None:
            return ""
        return await self._parents.prepare(Kind.of(run.warm, run.environment))

    def parents(self, state: str) -> int:
        """How many interpreters to fork from are in this state: starting, ready or failed."""
        return self._parents.count(state)

    async def close(self) -> None:
        """Kill what still runs, end what it was forked from, and remove every directory."""
        await super().close()
        await self._parents.close()

    def _choose(self, run: Run) -> Launcher:
        if run.warm is None:
            return super()._choose(run)
        kind = Kind.of(run.warm, run.environment)
        return self._parents.lend(kind) or super()._choose(run)

    def _done(self, launcher: Launcher) -> None:
        self._parents.returned(launcher)

    async def _launch(self, run: Run, directory: Path, launcher: Launcher) -> Attempt:
        try:
            return await super()._launch(run, directory, launcher)
        except (LauncherFailed, ConnectionError):
            if not self._parents.lent(launcher):
                raise
        return await super()._launch(run, directory, super()._choose(run))
