"""What a dispatcher does again and again.

It renews leases, puts back what was lost, ends what is late, and makes due what a clock that was
set back would hold up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from mediator.catalog.scripts import Script
from mediator.clock import Clock
from mediator.dispatch.attempt import Stops
from mediator.dispatch.lapsing import Watch
from mediator.dispatch.telling import tell_fates
from mediator.errors import StoreUnavailable
from mediator.storage.port import DeliveryStore

_log = structlog.get_logger()

LEASE = timedelta(seconds=60)
"""How long a claim holds without being renewed, unless the settings say otherwise."""
_PARTS = 4
"""How often a lease is renewed in its time."""


@dataclass(kw_only=True, slots=True)
class Housekeeping:
    """Keeps what runs, and only that."""

    owner: str
    store: DeliveryStore
    stops: Stops
    """what runs here"""
    scripts: Callable[[], Mapping[str, Script]]
    """those that there are now"""
    clock: Clock
    lease: timedelta = LEASE
    recovered: bool = False
    """whether what an earlier mediator lost was put back"""
    every: timedelta = field(init=False)
    """how often it is done"""
    _watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        """Begin to watch."""
        self.every = self.lease / _PARTS
        self._watch = Watch(
            owner=self.owner, alone=self.store.alone, lease=self.lease, every=self.every
        )

    async def keep(self) -> None:
        """Again and again, until cancelled."""
        while True:
            await asyncio.sleep(self.every.total_seconds())
            try:
                await self.renew()
                await self.recover()
                await self.hasten()
            except StoreUnavailable as error:
                _log.error("leases not renewed", reason=error.detail)

    async def renew(self) -> None:
        """Extend the leases of what runs; stop what an operator, or another dispatcher, ended."""
        # As of now: a delivery may end meanwhile, and run again under a new `Stop`.
        running = dict(self.stops)
        ids = {delivery_id for delivery_id, _ in running}
        ended = await self.store.renew(self.owner, ids, lease=self.clock.now() + self.lease)
        for (delivery_id, _), stop in running.items():
            if delivery_id in ended:
                stop.ask(shutdown=False)

    async def recover(self) -> None:
        """End what is late, and put back what was lost: also what an error here left behind."""
        tell_fates(await self.store.expire(now=self.clock.now()))
        lost = self._watch.lost(await self.store.held(), at=self.clock.steady())
        recovered = await self.store.recover(lost, now=self.clock.now())
        self.recovered = True
        if recovered:
            _log.warning("deliveries recovered that a mediator lost", count=len(recovered))
            tell_fates(recovered)

    async def hasten(self) -> None:
        """Make due what waits longer than its script's policy ever has it wait."""
        now = self.clock.now()
        latest = {
            name: now + _longest(script) + self.lease for name, script in self.scripts().items()
        }
        count = await self.store.hasten(latest, now=now)
        if count:
            _log.warning("deliveries made due, because the clock was set back", count=count)


def _longest(script: Script) -> timedelta:
    retry = script.policy.retry
    return max(retry.first, retry.longest)
