"""Which attempts were lost: those that nobody has renewed as long as somebody watched.

Clocks of two machines differ, and the clock of one is set. So no lease is compared with the time.
Whoever runs an attempt changes its lease again and again. Whoever watches counts, by a clock that
cannot be set, how long it has stayed the same; and of the time between two looks no more is counted
than there should be, because while nobody could look (the store was away, the machine stood still)
its owner perhaps could not renew either.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from mediator.storage.port import Held


@dataclass(kw_only=True, slots=True)
class Watch:
    """Watches over what dispatchers hold."""

    owner: str
    """this dispatcher"""
    alone: bool
    """no other dispatcher can be alive: what it holds is lost at once"""
    lease: timedelta
    """how long an attempt may go without being renewed"""
    every: timedelta
    """how often it is looked"""
    _silent: dict[Held, float] = field(default_factory=dict)
    _last: float | None = None

    def lost(self, held: Iterable[Held], *, at: float) -> list[Held]:
        """Those that are lost, of all that runs now; `at`: seconds of a steady clock."""
        passed = 0.0 if self._last is None else min(at - self._last, self.every.total_seconds())
        self._last = at
        # A lease that was renewed makes another `Held`, which begins anew.
        self._silent = {
            item: self._silent[item] + passed if item in self._silent else 0.0 for item in held
        }
        return [item for item, silent in self._silent.items() if self._is_lost(item, silent)]

    def _is_lost(self, item: Held, silent: float) -> bool:
        of_the_dead = self.alone and item.owner != self.owner
        return of_the_dead or silent >= self.lease.total_seconds()
