"""Processes of a mediator that are killed, or stand still."""

from __future__ import annotations

import contextlib
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil

from tests.faults import processes
from tests.faults.world import LEASE, World
from tests.support.conditions import eventually
from tests.support.mediator import Mediator


@dataclass(kw_only=True)
class KillMediator:
    """SIGKILL for a daemon; whatever ran for it is cut."""

    name: str = "kill -9 of the daemon"
    cuts: bool = True
    lasts: tuple[float, float] = (0.0, 0.5)
    _killed: Mediator | None = None

    async def inject(self, world: World, chance: random.Random) -> None:
        """Kill one."""
        self._killed = chance.choice(world.mediators)
        await world.kill(self._killed)

    async def heal(self, world: World) -> None:
        """Start it again."""
        assert self._killed is not None
        await world.start(self._killed)


@dataclass(kw_only=True)
class StopMediator:
    """SIGSTOP for a daemon until its lease is long over, then SIGCONT."""

    name: str = "SIGSTOP of a daemon past its lease"
    cuts: bool = True
    lasts: tuple[float, float] = (1.5 * LEASE, 2.5 * LEASE)
    _stopped: Mediator | None = None

    async def inject(self, world: World, chance: random.Random) -> None:
        """Stop one."""
        self._stopped = chance.choice(world.mediators)
        world.witness.look(self._stopped.pid)
        self._stopped.signal(signal.SIGSTOP)

    async def heal(self, world: World) -> None:  # noqa: ARG002 - as every fault
        """Let it go on."""
        assert self._stopped is not None
        self._stopped.signal(signal.SIGCONT)


@dataclass(kw_only=True)
class KillBelow:
    """SIGKILL for a process that a mediator needs to run scripts; it gets another by itself."""

    name: str
    find: Callable[[int], list[psutil.Process]]
    cuts: bool = True
    lasts: tuple[float, float] = (0.0, 0.1)
    killed: list[int] = field(default_factory=list)

    async def inject(self, world: World, chance: random.Random) -> None:
        """Kill one, as soon as there is one."""
        mediator = chance.choice(world.mediators)
        world.witness.look(mediator.pid)

        async def there() -> list[psutil.Process]:
            return self.find(mediator.pid)

        one = chance.choice(await eventually(there))
        self.killed.append(one.pid)
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()

    async def heal(self, world: World) -> None:
        """Nothing: that is the mediator's task."""


def kill_launcher() -> KillBelow:
    """What starts attempts."""
    return KillBelow(name="kill -9 of the launcher", find=processes.launchers)


def kill_supervisor() -> KillBelow:
    """What watches over one attempt, in the middle of it if any runs."""
    return KillBelow(name="kill -9 of a supervisor", find=processes.supervisors)


def kill_warm_parent() -> KillBelow:
    """What warm scripts are forks of."""
    return KillBelow(name="kill -9 of the warm parent", find=processes.warm_parents)
