"""The leases of what runs: renewed while it does, and what nobody renews is put back.

`LeaseKeeper` also does what else a dispatcher does again and again: it ends what is late, makes due
what a clock that was set back would hold up, and has cleared away what ended attempts have left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from mediator.catalog.script import Script
from mediator.clock import Clock
from mediator.dispatch.attempt import Stops, log_fates
from mediator.errors import NotFound, StoreUnavailable
from mediator.model.delivery import Claim
from mediator.runners.factory import Runners
from mediator.runners.port import Runner
from mediator.storage.interface import DeliveryStore, Held

LEASE = timedelta(seconds=60)
"""How long a claim holds without being renewed, unless the settings say otherwise."""
_PARTS = 4
"""How often a lease is renewed in its time."""
_log = structlog.get_logger()


@dataclass(kw_only=True, slots=True)
class LeaseKeeper:
    """Keeps what runs, and only that."""

    owner: str
    store: DeliveryStore
    stops: Stops
    """what runs here"""
    scripts: Callable[[], Mapping[str, Script]]
    """those that there are now"""
    runners: Runners
    clock: Clock
    adopted: Callable[[Sequence[Claim]], None]
    """is told what runs without the mediator that began it, and is this dispatcher's now"""
    lease: timedelta = LEASE
    every: timedelta | None = None
    """how often it is done; None: so that a lease is renewed several times before it runs out"""
    recovered: bool = False
    """whether what an earlier mediator lost was put back"""
    _expiry: LeaseExpiry = field(init=False)
    _garbage: GarbageCollector = field(init=False)

    def __post_init__(self) -> None:
        """Begin to watch."""
        self._expiry = LeaseExpiry(
            owner=self.owner,
            alone=self.store.alone,
            lease=self.lease,
            every=self.lease / _PARTS,
        )
        self._garbage = GarbageCollector(store=self.store, runners=self.runners)

    async def keep(self) -> None:
        """Again and again, until cancelled."""
        every = self.lease / _PARTS if self.every is None else self.every
        while True:
            await asyncio.sleep(every.total_seconds())
            try:
                await self.renew()
                await self.recover()
                await self.clamp_due()
                await self._garbage.collect()
            except StoreUnavailable as error:
                _log.error("leases not renewed", reason=error.detail)

    async def renew(self) -> None:
        """Extend the leases of what runs; stop what an operator, or another dispatcher, ended."""
        # As of now: a delivery may end meanwhile, and run again under a new `Stop`.
        running = dict(self.stops)
        ids = {delivery_id for delivery_id, _ in running}
        ended = await self.store.renew(self.owner, ids, lease=self.clock.now() + self.lease)
        survivors = any(stop.survives_daemon for stop in running.values())
        taken_over = await self._taken_over(ended) if survivors else ()
        for (delivery_id, _), stop in running.items():
            if stop.survives_daemon and delivery_id in taken_over:
                stop.hand_over()
            elif delivery_id in ended:
                stop.cancel()

    async def _taken_over(self, ended: Collection[str]) -> Collection[str]:
        """Those that are no longer this dispatcher's, of those that are to be stopped."""
        if not ended:
            return ()
        held = {item.delivery_id for item in await self.store.held() if item.owner == self.owner}
        return set(ended) - held

    async def recover(self) -> None:
        """End what is late, and put back what was lost: also what an error here left behind."""
        log_fates(await self.store.expire(now=self.clock.now()))
        lost = self._expiry.lost(await self.store.held(), at=self.clock.steady())
        await self._adopt([item for item in lost if self._survives(item)])
        lost = [item for item in lost if not self._survives(item)]
        recovered = await self.store.recover(lost, now=self.clock.now())
        self.recovered = True
        if recovered:
            _log.warning("deliveries recovered that a mediator lost", count=len(recovered))
            log_fates(recovered)

    async def _adopt(self, lost: Sequence[Held]) -> None:
        if not lost:
            return
        lease = self.clock.now() + self.lease
        claims = await self.store.adopt(lost, owner=self.owner, lease=lease)
        if claims:
            _log.info("attempts adopted that another mediator began", count=len(claims))
            self.adopted(claims)

    def _survives(self, item: Held) -> bool:
        script = self.scripts().get(item.script)
        return script is not None and self.runners.of(script.policy.runner).survives_daemon

    async def clamp_due(self) -> None:
        """Make due what waits longer than its script's policy ever has it wait."""
        now = self.clock.now()
        latest = {
            name: now + _longest(script) + self.lease for name, script in self.scripts().items()
        }
        count = await self.store.clamp_due(latest, now=now)
        if count:
            _log.warning("deliveries made due, because the clock was set back", count=count)


def _longest(script: Script) -> timedelta:
    retry = script.policy.retry
    return max(retry.first, retry.longest)


@dataclass(kw_only=True, slots=True)
class LeaseExpiry:
    """Which attempts were lost: those that nobody has renewed as long as somebody watched."""

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


@dataclass(kw_only=True, slots=True)
class GarbageCollector:
    """Clears away what runners keep of attempts whose end has been recorded."""

    store: DeliveryStore
    runners: Iterable[Runner]
    _of_others: set[str] = field(default_factory=set)
    """of deliveries that this store does not know: another mediator's, or removed from it"""

    async def collect(self) -> None:
        """Tell each runner what the store knows. Raises `StoreUnavailable`."""
        kept = {name: runner for runner in self.runners for name in runner.kept()}
        self._of_others &= kept.keys()
        for name in kept.keys() - self._of_others:
            if await self._recorded(name):
                _log.info("recorded attempt removed from its runner", run=name)
                await kept[name].recorded(name)

    async def _recorded(self, name: str) -> bool:
        delivery_id, _, number = name.rpartition("-")
        try:
            found = await self.store.find(delivery_id)
        except NotFound:
            self._of_others.add(name)
            return False
        return any(str(one.number) == number and one.ended for one in found.attempts)
