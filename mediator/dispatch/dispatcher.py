"""Claims due deliveries as slots come free and has them run.

Stopping: stop claiming, let what runs end until the drain limit, then cut it short; what was cut
is pending again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import structlog
from tenacity import wait_exponential_jitter
from tenacity.wait import wait_base

from mediator.catalog.script import Catalog, Script
from mediator.clock import Clock
from mediator.dispatch.attempt import AttemptMaker, Stop, Stops, ids_logged
from mediator.dispatch.leases import LEASE, LeaseKeeper
from mediator.dispatch.retry import Backoff
from mediator.dispatch.slots import Slots, limits, ordered
from mediator.errors import StoreUnavailable
from mediator.model.delivery import Claim
from mediator.storage.interface import Capacity, DeliveryStore

LONGEST_IDLE = timedelta(seconds=1)
"""How late a missed notice is noticed, unless a `Pace` says otherwise."""
_SILENCE = 30.0
"""Seconds; a dispatcher that has not looked for work for so long is stuck."""
_log = structlog.get_logger()


class Dispatcher:
    """Keeps the slots filled with due deliveries."""

    def __init__(
        self,
        *,
        owner: str,
        store: DeliveryStore,
        scripts: CatalogSource,
        slots: Slots,
        maker: AttemptMaker,
        clock: Clock,
        pace: Pace | None = None,
    ) -> None:
        pace = Pace() if pace is None else pace
        self.owner = owner
        self._store = store
        self._scripts = scripts
        self._slots = slots
        self._maker = maker
        self._clock = clock
        self._stops: Stops = {}
        self._lease = pace.lease
        self._leases = LeaseKeeper(
            owner=owner,
            store=store,
            stops=self._stops,
            scripts=lambda: scripts.catalog.scripts,
            runners=maker.runners,
            clock=clock,
            adopted=self._adopt,
            lease=pace.lease,
            every=pace.renew_every,
        )
        self._longest_idle = pace.longest_idle.total_seconds()
        self._backoff = Backoff(pace.store_wait)
        self._adopted: list[Claim] = []
        self._stopping = False
        self._cutting = False
        self._running: asyncio.Task[None] | None = None
        self._last_round: float | None = None
        store.notices.on_stop(self._stop_one)
        store.notices.want(self._fits)

    @property
    def alive(self) -> bool:
        """Whether it looked for work lately; with full slots it looks too."""
        last = self._last_round
        return last is not None and self._clock.steady() - last < _SILENCE

    async def run(self) -> None:
        """Dispatch until `stop`; returns when the last attempt is recorded.

        An error in any part ends all of it, as an `ExceptionGroup`.
        """
        if self._stopping:
            return
        async with asyncio.TaskGroup() as side:
            leases = side.create_task(self._leases.keep(), name="leases")
            self._running = side.create_task(self._work(), name="claiming")
            self._running.add_done_callback(lambda _: leases.cancel())

    async def stop(self, *, drain: timedelta) -> None:
        """Claim no more; cut short what still runs after `drain`."""
        self._stopping = True
        self._store.notices.work()
        if self._running is not None:
            await asyncio.wait({self._running}, timeout=drain.total_seconds())
        self.cut()

    def cut(self) -> None:
        """Cut short what runs now."""
        self._stopping = self._cutting = True
        self._store.notices.work()
        for stop in self._stops.values():
            stop.shut_down()

    async def _work(self) -> None:
        """Claim until stopped; every attempt has ended when this returns."""
        async with asyncio.TaskGroup() as attempts:
            while not self._stopping:
                try:
                    idle = await self._round(attempts)
                    self._backoff.reset()
                except StoreUnavailable as error:
                    idle = self._backoff.next()
                    _log.error("store unavailable", reason=error.detail, retry_in_seconds=idle)
                await self._store.notices.wait_for_work(idle)

    async def _round(self, attempts: asyncio.TaskGroup) -> float:
        """Claim what fits; seconds to wait before looking again, unless a notice comes first.

        A claim takes all that fits, so that nothing is left to look for at once.
        """
        self._last_round = self._clock.steady()
        if not self._leases.recovered:
            await self._leases.recover()
        self._go_on(attempts)
        now = self._clock.now()
        room = await self._fill(attempts, now)
        return await self._idle(room, after=now)

    async def _idle(self, room: dict[str, int], *, after: datetime) -> float:
        """Until something is due that may start; the rest starts when an attempt has ended.

        `after` is when it was looked before: what has become due since then is not overlooked.
        """
        if not room or self._slots.free(interactive=False) < 1:
            return self._longest_idle
        due = await self._store.next_due(room, after=after)
        if due is None:
            return self._longest_idle
        seconds = (due - self._clock.now()).total_seconds()
        return min(max(seconds, 0.0), self._longest_idle)

    async def _fill(self, attempts: asyncio.TaskGroup, now: datetime) -> dict[str, int]:
        """Start what fits into the free slots; the room that scripts have left."""
        scripts = self._scripts.catalog.scripts
        slots, interactive_slots = (self._slots.free(interactive=kind) for kind in (False, True))
        capacity = Capacity(
            owner=self.owner,
            interactive_slots=interactive_slots,
            slots=slots,
            room=self._slots.room(scripts),
            ordered=ordered(scripts),
            limits=limits(scripts),
        )
        if capacity.room and (slots or interactive_slots):
            for claim in await self._store.claim(capacity, now=now, lease=now + self._lease):
                self._start(attempts, claim, scripts[claim.delivery.script])
        return self._slots.room(scripts)

    def _adopt(self, claims: Sequence[Claim]) -> None:
        self._adopted += claims
        self._store.notices.work()

    def _go_on(self, attempts: asyncio.TaskGroup) -> None:
        """Take up what runs without a mediator, slots or not: it has one already."""
        scripts = self._scripts.catalog.scripts
        while self._adopted:
            claim = self._adopted.pop()
            script = scripts.get(claim.delivery.script)
            if script is not None and (claim.delivery.id, claim.number) not in self._stops:
                self._start(attempts, claim, script, adopted=True)

    def _start(
        self, attempts: asyncio.TaskGroup, claim: Claim, script: Script, *, adopted: bool = False
    ) -> None:
        """The slot is taken here, before the task runs, so that the next claim sees it."""
        delivery = claim.delivery
        self._stop_one(delivery.id)
        runner = self._maker.runners.of(script.policy.runner)
        stop = Stop(survives_daemon=runner.survives_daemon)
        self._stops[delivery.id, claim.number] = stop
        if self._cutting:
            stop.shut_down()
        self._slots.take(delivery.script, interactive=delivery.interactive)
        attempts.create_task(
            self._attempt(claim, script, stop, adopted=adopted),
            name=f"attempt-{delivery.id}-{claim.number}",
        )

    async def _attempt(self, claim: Claim, script: Script, stop: Stop, *, adopted: bool) -> None:
        delivery = claim.delivery
        try:
            # What runs already is not put back, whatever has become of its script.
            if (fresh := script if adopted else await self._fresh(script)) is None:
                await self._maker.put_back(claim)
            else:
                await self._maker.make(claim, fresh, stop)
        except Exception:  # noqa: BLE001 - one attempt's fault; its lease runs out: it is put back
            with ids_logged(claim):
                _log.exception("attempt failed in the mediator")
        finally:
            self._slots.release(delivery.script, interactive=delivery.interactive)
            del self._stops[delivery.id, claim.number]
            self._store.notices.work()

    async def _fresh(self, script: Script) -> Script | None:
        """The script as it is at this very moment; None when it is not ready to run."""
        if script.unchanged():
            return script
        await self._scripts.look()
        found = self._scripts.catalog.scripts.get(script.name)
        return found if found is not None and found.ready and found.unchanged() else None

    def _fits(self, name: str, interactive: bool) -> bool:
        script = self._scripts.catalog.scripts.get(name)
        return script is not None and self._slots.fits(script, interactive=interactive)

    def _stop_one(self, delivery_id: str) -> None:
        for (running, _), stop in self._stops.items():
            if running == delivery_id:
                stop.cancel()


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How often a dispatcher does what, and how long it waits."""

    lease: timedelta = LEASE
    """how long a claim holds without being renewed"""
    renew_every: timedelta | None = None
    """None: several times in the time of a lease"""
    longest_idle: timedelta = LONGEST_IDLE
    """after which it looks for work although nobody told it of any: a notice may be missed"""
    store_wait: wait_base = field(
        default_factory=lambda: wait_exponential_jitter(multiplier=0.1, max=5)
    )
    """how it waits for a store that is away"""


class CatalogSource(Protocol):
    """Where the current catalog is found."""

    @property
    def catalog(self) -> Catalog:
        """The scripts as they are now."""
        ...

    async def look(self) -> None:
        """Read what has changed; never raises."""
        ...
