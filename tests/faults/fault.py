"""Something that breaks, and what is to be expected of it."""

from __future__ import annotations

import random
from typing import Protocol

from tests.faults.world import World


class Fault(Protocol):
    """One kind of trouble. It holds what it must remember between `inject` and `heal`."""

    @property
    def name(self) -> str:
        """As the report has it."""
        ...

    @property
    def cuts(self) -> bool:
        """Whether attempts may be cut by it, and so run again."""
        ...

    @property
    def lasts(self) -> tuple[float, float]:
        """Seconds from `inject` to `heal`, the shortest and the longest."""
        ...

    async def inject(self, world: World, chance: random.Random) -> None:
        """Break it."""
        ...

    async def heal(self, world: World) -> None:
        """Repair it; what this returns from is as good as new."""
        ...
