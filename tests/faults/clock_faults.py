"""Clocks that are set."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.faults.world import World

_HOURS = 2 * 3600


@dataclass(kw_only=True)
class JumpClock:
    """The wall clock of one mediator jumps by two hours, and later back."""

    ahead: bool
    cuts: bool = False
    lasts: tuple[float, float] = (2.0, 4.0)

    @property
    def name(self) -> str:
        """As the report has it."""
        return f"clock jump of two hours {'ahead' if self.ahead else 'back'}"

    async def inject(self, world: World, chance: random.Random) -> None:
        """Set it wrong."""
        chance.choice(world.clocks).set(_HOURS if self.ahead else -_HOURS)

    async def heal(self, world: World) -> None:
        """Set it right."""
        for clock in world.clocks:
            clock.set(0)
