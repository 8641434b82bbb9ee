"""Clears away what a runner keeps of attempts whose end has been recorded.

Usually a runner is told so at once. A mediator that is killed between the two leaves it behind, and
any mediator of the same store clears it away.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog

from mediator.errors import NotFound
from mediator.runners.port import Runner
from mediator.storage.port import DeliveryStore

_log = structlog.get_logger()


@dataclass(kw_only=True, slots=True)
class Sweeper:
    """Looks for what is kept without need."""

    store: DeliveryStore
    runner: Runner
    _of_others: set[str] = field(default_factory=set)
    """of deliveries that this store does not know: another mediator's, or removed from it"""

    async def sweep(self) -> None:
        """Tell the runner what the store knows. Raises `StoreUnavailable`."""
        kept = set(self.runner.kept())
        self._of_others &= kept
        for name in kept - self._of_others:
            if await self._recorded(name):
                _log.info("recorded attempt removed from its runner", run=name)
                await self.runner.recorded(name)

    async def _recorded(self, name: str) -> bool:
        delivery_id, _, number = name.rpartition("-")
        try:
            found = await self.store.find(delivery_id)
        except NotFound:
            self._of_others.add(name)
            return False
        return any(str(one.number) == number and one.ended for one in found.attempts)
