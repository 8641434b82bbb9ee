"""Networks that stall, reset and are cut: between callers and mediators, and to the database."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults.world import World
from tests.support.proxy import Proxy

Which = Callable[[World], list[Proxy]]


def to_the_mediators(world: World) -> list[Proxy]:
    """Where tickets come from."""
    return world.callers


def to_the_database(world: World) -> list[Proxy]:
    """Where deliveries are kept."""
    return world.database


@dataclass(kw_only=True)
class Stall:
    """One wire passes nothing on; nobody is told."""

    name: str
    which: Which
    cuts: bool
    lasts: tuple[float, float] = (2.5, 5.0)
    _held: list[Proxy] = field(default_factory=list)

    async def inject(self, world: World, chance: random.Random) -> None:
        """Hold it still."""
        self._held = [chance.choice(self.which(world))]
        self._held[0].hold()

    async def heal(self, world: World) -> None:  # noqa: ARG002
        """Pass on what was held back."""
        self._held[0].go_on()


@dataclass(kw_only=True)
class Reset:
    """All wires are reset, in the middle of whatever they carry; new ones can be laid."""

    name: str
    which: Which
    cuts: bool
    lasts: tuple[float, float] = (0.0, 0.3)

    async def inject(self, world: World, chance: random.Random) -> None:  # noqa: ARG002
        """Reset them."""
        for proxy in self.which(world):
            proxy.reset()

    async def heal(self, world: World) -> None:
        """Once more."""
        for proxy in self.which(world):
            proxy.reset()


@dataclass(kw_only=True)
class Cut:
    """One wire is reset, and none is laid in its place."""

    name: str
    which: Which
    cuts: bool
    lasts: tuple[float, float] = (1.0, 4.0)
    _cut: list[Proxy] = field(default_factory=list)

    async def inject(self, world: World, chance: random.Random) -> None:
        """Cut it."""
        self._cut = [chance.choice(self.which(world))]
        self._cut[0].refuses = True
        self._cut[0].reset()

    async def heal(self, world: World) -> None:  # noqa: ARG002
        """Allow wires again."""
        self._cut[0].refuses = False
