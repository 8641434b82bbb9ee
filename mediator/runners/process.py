"""The process runner: an attempt is a process of its own, and nothing of it outlives the attempt.

`ProcessRunner(directory)`, then `start`. Under `directory` every attempt gets an empty working
directory. The script is a child not of the daemon but of a supervisor (see `launcher.py`).
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Collection
from pathlib import Path

from mediator.errors import SettingsError
from mediator.model.delivery import Ended, Outcome
from mediator.runners.attempt import Attempt, channels, specify
from mediator.runners.launcher_client import Launcher, LauncherFailed
from mediator.runners.port import Run
from mediator.runners.workspace import Workspace

_SHUTTING_DOWN = "not started because the mediator shuts down"


class ProcessRunner:
    """Runs each attempt as a process on this machine. Implements the port `Runner`."""

    def __init__(self, directory: Path) -> None:
        self._workspace = Workspace(directory)
        self._launcher = Launcher()
        self._attempts: set[Attempt] = set()
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

    async def _run(self, run: Run, stop: asyncio.Event) -> Ended:
        try:
            directory = self._workspace.make(run.name)
        except OSError as error:
            return _not_started(error)
        attempt, launcher = None, self._choose(run)
        try:
            attempt = await self._launch(run, directory, launcher)
        except (OSError, LauncherFailed, ValueError) as error:
            return _not_started(error)
        else:
            return await attempt.end(stop=stop)
        finally:
            await self._clear(attempt, directory, run.name, launcher)

    def _choose(self, run: Run) -> Launcher:  # noqa: ARG002 -- another runner has several
        """What this attempt is started by; `_done` follows."""
        return self._launcher

    def _done(self, launcher: Launcher) -> None:
        """An attempt that it was chosen for is over."""

    async def _launch(self, run: Run, directory: Path, launcher: Launcher) -> Attempt:
        with channels() as ends:
            await launcher.launch(specify(run, directory), ends.theirs)
            attempt = Attempt(run, directory, ends)
        self._attempts.add(attempt)
        if not self._open:  # closed while the order waited its turn
            attempt.shut_down()
        return attempt

    async def _clear(
        self, attempt: Attempt | None, directory: Path, name: str, launcher: Launcher
    ) -> None:
        """Leave nothing behind, even when the caller is cancelled, and cancelled again here."""
        clearing = self._clear_up(attempt, directory, launcher)
        task = asyncio.create_task(clearing, name=f"clear up {name}")
        self._clearing.add(task)
        task.add_done_callback(self._clearing.discard)
        await asyncio.shield(task)

    async def _clear_up(self, attempt: Attempt | None, directory: Path, launcher: Launcher) -> None:
        if attempt is not None:
            await attempt.kill()  # does nothing unless the caller was cancelled
            attempt.close()
            if attempt.launcher_hangs:
                launcher.kill()
            self._attempts.discard(attempt)
        self._done(launcher)
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
