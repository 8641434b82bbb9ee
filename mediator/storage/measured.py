"""A store that is measured: how long it takes, how often it is away, and what ended in it.

What ends by an attempt is counted where attempts are; here is counted what only the store knows.
The many small methods are the port's.
"""

from __future__ import annotations

from collections.abc import Collection, Coroutine, Hashable, Mapping, Sequence
from datetime import datetime, timedelta
from time import perf_counter
from typing import Any, TypeVar

from mediator.errors import StoreUnavailable
from mediator.metrics import Metrics
from mediator.model.delivery import Accepted, Census, Claim, Delivery, Fate, NewDelivery, State
from mediator.storage.interface import Appetite, Backlog, DeliveryStore, Finish, Held, Kept, Search
from mediator.storage.notices import Notices

T = TypeVar("T")


class MeasuredStore:
    """Implements `DeliveryStore` by another one."""

    def __init__(self, store: DeliveryStore, metrics: Metrics) -> None:
        self.notices: Notices = store.notices
        self.alone = store.alone
        self._store = store
        self._metrics = metrics

    async def _timed(self, operation: str, work: Coroutine[Any, Any, T]) -> T:
        began = perf_counter()
        try:
            return await work
        except StoreUnavailable:
            self._metrics.store.errors.inc()
            raise
        finally:
            seconds = perf_counter() - began
            self._metrics.store.duration.labels(operation).observe(seconds)

    async def start(self) -> None:
        """Open it."""
        await self._store.start()

    async def close(self) -> None:
        """Let go of it."""
        await self._store.close()

    async def accept(self, new: NewDelivery) -> Accepted:
        """Keep a delivery."""
        return await self._timed("accept", self._store.accept(new))

    async def accept_together(self, news: Sequence[NewDelivery]) -> list[Accepted]:
        """Keep all or none."""
        return await self._timed("accept", self._store.accept_together(news))

    async def recognise(self, news: Sequence[NewDelivery]) -> list[Accepted | None]:
        """Which of them are kept already."""
        return await self._timed("read", self._store.recognise(news))

    async def claim(self, appetite: Appetite, *, now: datetime, lease: datetime) -> list[Claim]:
        """Take due deliveries."""
        return await self._timed("claim", self._store.claim(appetite, now=now, lease=lease))

    async def finish(self, finish: Finish) -> State | None:
        """Close an attempt."""
        return await self._timed("finish", self._store.finish(finish))

    async def renew(
        self, owner: str, running: Collection[str], *, lease: datetime
    ) -> Collection[str]:
        """Extend leases."""
        return await self._timed("lease", self._store.renew(owner, running, lease=lease))

    async def held(self) -> list[Held]:
        """All attempts that run."""
        return await self._timed("lease", self._store.held())

    async def recover(self, lost: Collection[Held], *, now: datetime) -> Sequence[Fate]:
        """Put back what was lost, and count it."""
        fates = await self._timed("lease", self._store.recover(lost, now=now))
        for fate in fates:
            self._metrics.attempts.lost(fate)
            if fate.state.ended:
                self._metrics.attempts.ended(fate, fate.state, now)
        return fates

    async def adopt(
        self, lost: Collection[Held], *, owner: str, lease: datetime
    ) -> Sequence[Claim]:
        """Take over attempts that run without their dispatcher."""
        return await self._timed("lease", self._store.adopt(lost, owner=owner, lease=lease))

    async def clamp_due(self, latest: Mapping[str, datetime], *, now: datetime) -> int:
        """Make due what a clock that was set back would hold up."""
        return await self._timed("lease", self._store.clamp_due(latest, now=now))

    async def expire(self, *, now: datetime) -> Sequence[Fate]:
        """Cancel what nobody waits for any more, and count it."""
        fates = await self._timed("lease", self._store.expire(now=now))
        for fate in fates:
            self._metrics.attempts.ended(fate, fate.state, now)
        return fates

    async def next_due(self, scripts: Collection[str], *, after: datetime) -> datetime | None:
        """When the next delivery becomes due."""
        return await self._timed("read", self._store.next_due(scripts, after=after))

    async def find(self, delivery_id: str) -> Delivery:
        """One delivery."""
        return await self._timed("read", self._store.find(delivery_id))

    async def search(self, search: Search) -> list[Delivery]:
        """Deliveries."""
        return await self._timed("read", self._store.search(search))

    async def retry(self, delivery_id: str, *, now: datetime) -> Delivery:
        """Make it due now, and count that."""
        delivery = await self._timed("change", self._store.retry(delivery_id, now=now))
        self._metrics.attempts.retried(delivery)
        return delivery

    async def cancel(self, delivery_id: str, *, now: datetime, reason: str) -> Delivery:
        """End it or have it stopped; what has ended by this alone is counted."""
        cancelling = self._store.cancel(delivery_id, now=now, reason=reason)
        delivery = await self._timed("change", cancelling)
        if delivery.state.ended:
            self._metrics.attempts.ended(delivery, delivery.state, now)
        return delivery

    async def body(self, delivery_id: str) -> bytes:
        """The ticket of one delivery."""
        return await self._timed("read", self._store.body(delivery_id))

    async def ends(
        self, *, since: datetime, until: datetime, step: timedelta
    ) -> Mapping[tuple[int, State], int]:
        """How many deliveries ended, by step and state."""
        return await self._timed("read", self._store.ends(since=since, until=until, step=step))

    async def recent(self, scripts: Collection[str], *, most: int) -> Mapping[str, list[Delivery]]:
        """Script → its latest deliveries."""
        return await self._timed("read", self._store.recent(scripts, most=most))

    async def place(self, at: datetime) -> int:
        """About which `seq` came first at `at` or later."""
        return await self._timed("read", self._store.place(at))

    async def change_token(self) -> Hashable:
        """Another one when something has happened."""
        return await self._timed("read", self._store.change_token())

    async def remove(self, kept: Kept) -> int:
        """Remove some."""
        return await self._timed("remove", self._store.remove(kept))

    async def vacuum_step(self) -> bool:
        """Return unused space."""
        return await self._timed("remove", self._store.vacuum_step())

    async def backlog(self) -> Backlog:
        """Counts."""
        return await self._timed("count", self._store.backlog())

    async def census(self, *, now: datetime) -> Census:
        """Counts by script and state."""
        return await self._timed("count", self._store.census(now=now))

    async def size(self) -> int | None:
        """Bytes of the database."""
        return await self._timed("count", self._store.size())

    async def waiting(self) -> Mapping[str, int]:
        """Script → its pending deliveries."""
        return await self._timed("count", self._store.waiting())

    async def free(self) -> int | None:
        """Bytes free where it is kept."""
        return await self._timed("count", self._store.free())

    async def probe(self) -> None:
        """Prove that it can be written."""
        await self._timed("probe", self._store.probe())
