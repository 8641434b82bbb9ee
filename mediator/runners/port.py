"""What the dispatcher asks of a runner, whatever kind of runner it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mediator.model.delivery import Ended
from mediator.model.policy import Limits, Pod

Listener = Callable[[str, bytes], None]
"""Told `stdout` or `stderr` and what was just written there, on the event loop.

It must return at once and raise nothing: what it does holds up all attempts.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Warm:
    """What a Python script may be a fork of: an interpreter with modules imported already."""

    command: tuple[str, ...]
    """the interpreter, a path or a name on the PATH of the script's environment, and its options"""
    script: Path
    """absolute path of the script; it is in the arguments, or is the program itself"""
    preload: tuple[str, ...] = ()
    """names of the modules to import"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One attempt, completely described; a runner adds nothing of its own."""

    name: str
    """a name for logs and for the working directory, unique among running attempts"""
    program: Path
    """absolute path of the executable script"""
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    """the whole environment of the script"""
    stdin: bytes
    timeout: float
    """seconds until SIGTERM goes to the process group"""
    grace: float
    """seconds from SIGTERM to SIGKILL"""
    limits: Limits = field(default_factory=Limits)
    on_output: Listener | None = field(default=None, compare=False)
    """hears all output as it comes, also what `limits.output` leaves out at the end"""
    warm: Warm | None = None
    """leave to run it as a fork; a runner that cannot starts the program instead"""
    pod: Pod | None = None
    """the pod it is to run in; None: it runs on this machine"""
    script: str = ""
    """name of the script, for people who look at what runs"""
    leave: asyncio.Event | None = field(default=None, compare=False)
    """set when the mediator goes down: a runner whose attempts outlive it raises `LeftRunning`"""


class LeftRunning(Exception):
    """The attempt goes on without the mediator: a run of the same name continues it."""


class Runner(Protocol):
    """Runs attempts, many at a time."""

    @property
    def survives_daemon(self) -> bool:
        """Whether its attempts go on without the daemon that began them.

        Then the next one continues them by a run of the same name, and `Run.leave` is how this one
        lets go of them.
        """
        ...

    async def start(self) -> None:
        """Get ready. Raises `SettingsError` when this machine cannot run it."""
        ...

    async def run(self, run: Run, *, stop: asyncio.Event) -> Ended:
        """Run one attempt to its end and leave no process of it behind.

        When `stop` is set the attempt is ended as after a time-out (SIGTERM, grace, SIGKILL) with
        outcome `cancelled`. Cancelling the task kills it at once. Never raises for what a script
        does: that is an outcome.
        """
        ...

    async def recorded(self, name: str) -> None:
        """The end of the run of that name is in the store: nothing of it need be kept."""
        ...

    def kept(self) -> Collection[str]:
        """Names of runs that have ended and that nobody here has asked about, or told of since.

        Something of them is kept until `recorded`, here or by another mediator.
        """
        ...

    async def close(self) -> None:
        """Kill whatever still runs and let go of everything."""
        ...
