"""Claims due deliveries as slots come free, has them run, and keeps its leases.

Stopping: stop claiming, let what runs end until the drain limit, then cut it short; what was cut
is pending again.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Protocol

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential_jitter
from tenacity.wait import wait_base

from mediator.catalog.scripts import Catalog, Script
from mediator.clock import Clock
from mediator.dispatch.attempt import AttemptMaker, Stop
from mediator.dispatch.retrying import call_state
from mediator.dispatch.slots import Slots, ordered
from mediator.errors import StoreUnavailable
from mediator.metrics import Metrics
from mediator.model.deliveries import Claim
from mediator.storage.port import Appetite, DeliveryStore

_log = structlog.get_logger()

LEASE = timedelta(seconds=60)
"""How long a claim holds without being renewed."""
_RENEW_EVERY = LEASE / 4
_LONGEST_IDLE = 1.0
"""Seconds; how late a missed notice is noticed."""


class Scripts(Protocol):
    """Where the current catalog is found."""

    @property
    def catalog(self) -> Catalog:
        """The scripts as they are now."""
        ...


class Dispatcher:
    """Keeps the slots filled with due deliveries."""

    def __init__(
        self,
        *,
        owner: str,
        store: DeliveryStore,
        scripts: Scripts,
        slots: Slots,
        maker: AttemptMaker,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self.owner = owner
        self._store = store
        self._scripts = scripts
        self._slots = slots
        self._maker = maker
        self._metrics = metrics
        self._clock = clock
        self._stops: dict[str, Stop] = {}
        self._attempts: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._last_round: datetime | None = None
        store.notices.on_stop(self._stop_one)

    @property
    def alive(self) -> bool:
        """Whether it looked for work lately, or is busy with all it can take."""
        return self._last_round is not None and self._clock.now() - self._last_round < timedelta(
            seconds=30
        )

    async def run(self) -> None:
        """Dispatch until `stop`; returns when the last attempt is recorded."""
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(StoreUnavailable), wait=wait_exponential_jitter(0.1, 5)
        ):
            with attempt:
                await self._recover()
        renewing = asyncio.create_task(self._keep_leases(), name="lease-keeper")
        try:
            async with asyncio.TaskGroup() as group:
                await self._claim_until_stopped(group)
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    async def stop(self, *, drain: timedelta) -> None:
        """Claim no more; cut short what still runs after `drain`."""
        self._stopping = True
        self._store.notices.work()
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=drain.total_seconds())
        self.cut()

    def cut(self) -> None:
        """Cut short what runs now."""
        self._stopping = True
        self._store.notices.work()
        for stop in self._stops.values():
            stop.ask(shutdown=True)

    async def _recover(self) -> None:
        now = self._clock.now()
        await self._store.expire(now=now)
        recovered = await self._store.recover(self.owner, now=now)
        self._metrics.recovered.inc(recovered)
        if recovered:
            _log.warning("deliveries recovered from a mediator that stopped", count=recovered)

    async def _claim_until_stopped(self, group: asyncio.TaskGroup) -> None:
        patience = _Patience()
        while not self._stopping:
            try:
                idle = await self._round(group)
                patience.reset()
            except StoreUnavailable as error:
                idle = patience.next()
                self._metrics.store_errors.inc()
                _log.error(
                    "store unavailable", reason=error.detail, retry_in_seconds=round(idle, 1)
                )
            if idle:
                await self._store.notices.wait_for_work(idle)

    async def _round(self, group: asyncio.TaskGroup) -> float:
        """Claim what fits; seconds to wait before looking again, 0 for at once."""
        self._last_round = self._clock.now()
        took = False
        for interactive in (True, False):
            took = await self._fill(group, interactive=interactive) or took
        return 0 if took else await self._idle()

    async def _idle(self) -> float:
        due = await self._store.next_due()
        if due is None:
            return _LONGEST_IDLE
        wait = (due - self._clock.now()).total_seconds()
        # Due already, yet not claimed: its script is busy or not ready. A notice ends the wait.
        return min(wait, _LONGEST_IDLE) if wait > 0 else _LONGEST_IDLE

    async def _fill(self, group: asyncio.TaskGroup, *, interactive: bool) -> bool:
        """Start what fits into the free slots of one kind; whether anything did."""
        free = self._slots.free(interactive=interactive)
        if free < 1:
            return False
        scripts = self._scripts.catalog.scripts
        now = self._clock.now()
        appetite = Appetite(
            owner=self.owner,
            interactive=interactive,
            slots=free,
            room=self._slots.room(scripts),
            ordered=ordered(scripts),
        )
        claims = await self._store.claim(appetite, now=now, lease=now + LEASE)
        for claim in claims:
            self._start(group, claim, scripts[claim.delivery.script])
        return bool(claims)

    def _start(self, group: asyncio.TaskGroup, claim: Claim, script: Script) -> None:
        """The slot is taken here, before the task runs, so that the next claim sees it."""
        delivery = claim.delivery
        stop = self._stops[delivery.id] = Stop()
        self._slots.take(delivery.script, interactive=delivery.interactive)
        task = group.create_task(self._attempt(claim, script, stop), name=f"attempt-{delivery.id}")
        self._attempts.add(task)
        task.add_done_callback(self._attempts.discard)

    async def _attempt(self, claim: Claim, script: Script, stop: Stop) -> None:
        delivery = claim.delivery
        try:
            await self._maker.make(claim, script, stop)
        finally:
            self._slots.release(delivery.script, interactive=delivery.interactive)
            self._stops.pop(delivery.id, None)
            self._store.notices.work()

    def _stop_one(self, delivery_id: str) -> None:
        stop = self._stops.get(delivery_id)
        if stop is not None:
            stop.ask(shutdown=False)

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_EVERY.total_seconds())
            try:
                await self._keep_house()
            except StoreUnavailable as error:
                _log.error("leases not renewed", reason=error.detail)

    async def _keep_house(self) -> None:
        now = self._clock.now()
        await self._store.expire(now=now)
        for delivery_id in await self._store.renew(self.owner, lease=now + LEASE):
            self._stop_one(delivery_id)


class _Patience:
    """Growing waits while the store is away."""

    def __init__(self) -> None:
        self._wait: wait_base = wait_exponential_jitter(initial=0.1, max=5)
        self._failures = 0

    def reset(self) -> None:
        self._failures = 0

    def next(self) -> float:
        self._failures += 1
        return float(self._wait(call_state(self._failures, 0.0)))
