"""The runner of this machine: an attempt is a process, and nothing of it outlives the attempt.

`ProcessRunner(directory)`, then `start`. Under `directory` every attempt gets an empty working
directory. The script is a child not of the daemon but of a supervisor (see `launcher.py`). Where it
may be a fork of an interpreter that is ready (`prefork.py`), that one launches it; else, and
whenever that fails, it is an ordinary start.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Collection, Coroutine
from pathlib import Path
from typing import Any

from mediator.errors import SettingsError
from mediator.model.delivery import Ended, Outcome
from mediator.runners.attempt import PATIENCE, ProcessAttempt, channels, specify
from mediator.runners.launcher_client import LauncherClient, LauncherFailed
from mediator.runners.port import Run
from mediator.runners.prefork import Parent, Parents
from mediator.runners.workspace import Workspace

_SHUTTING_DOWN = "not started because the mediator shuts down"


class ProcessRunner:
    """Runs each attempt as a process on this machine. Implements the port `Runner`."""

    survives_daemon = False

    def __init__(
        self,
        directory: Path,
        *,
        parents: Parents | None = None,
        launcher: LauncherClient | None = None,
        patience: float = PATIENCE,
    ) -> None:
        """`parents`: warm interpreters that it may fork; started and closed with the runner.

        `patience`: seconds for a supervisor to kill what it is told to.
        """
        self._workspace = Workspace(directory)
        self._parents = Parents() if parents is None else parents
        self._launcher = LauncherClient() if launcher is None else launcher
        self._patience = patience
        self._attempts: set[ProcessAttempt] = set()
        self._clearing: set[asyncio.Task[None]] = set()
        self._runs = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._open = False

    async def start(self) -> None:
        """Take a place for working directories and start the launcher. Raises SettingsError."""
        await self._workspace.open()
        try:
            await self._launcher.start()
        except (LauncherFailed, OSError) as error:
            await self._workspace.close()
            raise SettingsError(f"scripts cannot be run on this machine: {error}") from error
        self._parents.open()
        self._open = True

    async def run(self, run: Run, *, stop: asyncio.Event) -> Ended:
        """Run one attempt to its end; see `Runner.run`."""
        if not self._open:
            return Ended(outcome=Outcome.CANCELLED, reason=_SHUTTING_DOWN)
        if stop.is_set():
            return Ended(outcome=Outcome.CANCELLED, reason="cancelled before it was started")
        self._runs += 1
        self._idle.clear()
        try:
            return await self._run(run, stop)
        finally:
            self._runs -= 1
            if self._runs == 0:
                self._idle.set()

    async def recorded(self, name: str) -> None:
        """Nothing is kept of an attempt that has ended."""

    def kept(self) -> Collection[str]:
        """Nothing."""
        return ()

    async def close(self) -> None:
        """Kill what still runs, wait until it is dead, and remove every working directory."""
        self._open = False
        for attempt in self._attempts:
            attempt.shut_down()
        await self._idle.wait()
        if self._clearing:
            await asyncio.wait(self._clearing)
        await self._launcher.close()
        await self._workspace.close()
        await self._parents.close()

    async def _run(self, run: Run, stop: asyncio.Event) -> Ended:
        try:
            directory = self._workspace.make(run.name)
        except OSError as error:
            return _not_started(error)
        attempt, parent = None, self._parents.lend(run)
        try:
            attempt = await self._launch(run, directory, parent)
        except (OSError, LauncherFailed, ValueError) as error:
            return _not_started(error)
        else:
            return await attempt.end(stop=stop)
        finally:
            clearing = self._clear_up(attempt, directory, parent)
            await self._shielded(clearing, name=f"clear up {run.name}")

    async def _launch(self, run: Run, directory: Path, parent: Parent | None) -> ProcessAttempt:
        if parent is not None:
            with contextlib.suppress(LauncherFailed, ConnectionError):  # it has just died
                return await self._order(run, directory, parent.launcher)
        return await self._order(run, directory, self._launcher)

    async def _order(self, run: Run, directory: Path, launcher: LauncherClient) -> ProcessAttempt:
        with channels(run.stdin) as ends:
            await launcher.launch(specify(run, directory), ends.theirs)
            attempt = ProcessAttempt(
                run, directory, ends, launcher=launcher, patience=self._patience
            )
        self._attempts.add(attempt)
        if not self._open:  # closed while the order waited its turn
            attempt.shut_down()
        return attempt

    async def _shielded(self, clearing: Coroutine[Any, Any, None], *, name: str) -> None:
        """Leave nothing behind, even when the caller is cancelled, and cancelled again here."""
        task = asyncio.create_task(clearing, name=name)
        self._clearing.add(task)
        task.add_done_callback(self._clearing.discard)
        await asyncio.shield(task)

    async def _clear_up(
        self, attempt: ProcessAttempt | None, directory: Path, parent: Parent | None
    ) -> None:
        if attempt is not None:
            await attempt.kill()  # does nothing unless the caller was cancelled
            attempt.close()
            self._attempts.discard(attempt)
        if parent is not None:
            self._parents.take_back(parent)
        await self._workspace.remove(directory)


def _not_started(error: Exception) -> Ended:
    return Ended(outcome=Outcome.NOT_STARTED, reason=f"not started: {_why(error)}")


def _why(error: Exception) -> str:
    if isinstance(error, UnicodeEncodeError):
        return "an argument or variable contains characters that this system cannot encode"
    if isinstance(error, OSError):
        if error.errno == errno.ETOOMANYREFS:
            return "too many attempts are being started at once"
        place = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror or error}{place}"
    return str(error)
