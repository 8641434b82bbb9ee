"""How many attempts may start now: overall, by kind of call, and by script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from mediator.catalog.script import Script
from mediator.model.policy import Order


class Slots:
    """Counts what runs. Interactive calls have slots of their own, so triggers never fill them."""

    def __init__(self, *, trigger: int, interactive: int) -> None:
        self._size = {False: trigger, True: interactive}
        self._busy: Counter[bool] = Counter()
        self._scripts: Counter[str] = Counter()

    def size(self, *, interactive: bool) -> int:
        """Slots of this kind that there are."""
        return self._size[interactive]

    def free(self, *, interactive: bool) -> int:
        """Slots of this kind that are free."""
        return self._size[interactive] - self._busy[interactive]

    @property
    def busy(self) -> int:
        """Attempts running, of both kinds."""
        return self._busy.total()

    def running(self, *, interactive: bool) -> int:
        """Attempts of this kind running."""
        return self._busy[interactive]

    def fits(self, script: Script, *, interactive: bool) -> bool:
        """Whether an attempt of this script may start now."""
        return self.free(interactive=interactive) > 0 and (
            self._limit(script) > self._scripts[script.name]
        )

    def room(self, scripts: Mapping[str, Script]) -> dict[str, int]:
        """Script → attempts of it that may start; scripts that are not ready have no entry."""
        return {
            name: limit - self._scripts[name]
            for name, script in scripts.items()
            if (limit := self._limit(script)) > self._scripts[name]
        }

    def _limit(self, script: Script) -> int:
        if not script.ready:
            return 0
        return script.policy.concurrency or sum(self._size.values())

    def take(self, script: str, *, interactive: bool) -> None:
        """An attempt starts."""
        self._busy[interactive] += 1
        self._scripts[script] += 1

    def release(self, script: str, *, interactive: bool) -> None:
        """An attempt ended."""
        self._busy[interactive] -= 1
        self._scripts[script] -= 1


def ordered(scripts: Mapping[str, Script]) -> frozenset[str]:
    """The scripts whose deliveries of one ticket wait for each other."""
    return frozenset(
        name for name, script in scripts.items() if script.policy.order is Order.TICKET
    )


def limits(scripts: Mapping[str, Script]) -> dict[str, int]:
    """Script → how many of its attempts may run at once on all mediators; by default any number."""
    return {
        name: script.policy.concurrency
        for name, script in scripts.items()
        if script.policy.concurrency
    }
