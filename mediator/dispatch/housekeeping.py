"""What a dispatcher does by the clock: renew leases, put back what was lost, end what is late."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import structlog

from mediator.clock import Clock
from mediator.dispatch.attempt import Stops
from mediator.errors import StoreUnavailable
from mediator.storage.port import DeliveryStore

_log = structlog.get_logger()

LEASE = timedelta(seconds=60)
"""How long a claim holds without being renewed."""
EVERY = LEASE / 4


@dataclass(kw_only=True, slots=True)
class Housekeeping:
    """Keeps what runs, and only that."""

    owner: str
    store: DeliveryStore
    stops: Stops
    """what runs here"""
    clock: Clock
    every: timedelta = EVERY
    recovered: bool = False
    """whether what an earlier mediator lost was put back"""

    async def keep(self) -> None:
        """Again and again, until cancelled."""
        while True:
            await asyncio.sleep(self.every.total_seconds())
            try:
                await self.renew()
                await self.recover()
            except StoreUnavailable as error:
                _log.error("leases not renewed", reason=error.detail)

    async def renew(self) -> None:
        """Extend the leases of what runs; stop what an operator, or another dispatcher, ended."""
        # As of now: a delivery may end meanwhile, and run again under a new `Stop`.
        running = dict(self.stops)
        ids = {delivery_id for delivery_id, _ in running}
        ended = await self.store.renew(self.owner, ids, lease=self.clock.now() + LEASE)
        for (delivery_id, _), stop in running.items():
            if delivery_id in ended:
                stop.ask(shutdown=False)

    async def recover(self) -> None:
        """End what is late, and put back what was lost: also what an error here left behind."""
        now = self.clock.now()
        await self.store.expire(now=now)
        recovered = await self.store.recover(self.owner, now=now)
        self.recovered = True
        if recovered:
            _log.warning("deliveries recovered that a mediator lost", count=len(recovered))
