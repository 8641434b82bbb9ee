"""Back-pressure: whether there is room for what is handed over, of deliveries and on the disk.

Nothing is counted per request. What waits is counted in the store now and then, and what was let
in since is added. Before anything is refused it is counted anew; where that takes long, only so
often that it takes a tenth of the time. So one mediator keeps at most as many too many as were
being written while it counted, and those that operators make wait again.

What a person waits for is not bounded by number: it ends with the patience of who waits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from mediator.clock import Clock
from mediator.errors import Crowded, Full
from mediator.model.delivery import NewDelivery
from mediator.settings.schema import Store
from mediator.storage.interface import DeliveryStore
from mediator.web.ttl_cache import TtlCache

_OLD = timedelta(seconds=5)
"""A count is not believed for longer, even if there is room by it."""
_QUICK = timedelta(milliseconds=50)
"""A count that takes no longer is made for everyone who would be refused."""
_SHARE = 10
"""Any other may take one part in so many of the time."""
_GLANCE = timedelta(seconds=1)
"""How often the disk is looked at, at most."""


class Backpressure:
    """Lets in what there is room for."""

    def __init__(self, store: DeliveryStore, settings: Store, clock: Clock) -> None:
        self._settings = settings
        self._waiting = TtlCache(_counter(store), clock)
        self._free = TtlCache(store.free, clock)

    async def admit(self, news: Sequence[NewDelivery]) -> None:
        """Take room for all of them. Raises `Full` or `Crowded`, and then takes none."""
        if short := await self.disk():
            raise Full(f"The mediator takes nothing for now: {short}.")
        wanted = Counter(new.script for new in news if not new.interactive)
        if not wanted:
            return
        waiting = await self._waiting.get(_OLD)
        if self._problem(waiting, wanted) is not None:
            waiting = await self._waiting.get(self._patience())
        if (problem := self._problem(waiting, wanted)) is not None:
            raise problem
        waiting.update(wanted)

    async def free(self) -> int | None:
        """Bytes that the store can still grow by, as of a moment ago; None: it cannot tell."""
        return await self._free.get(_GLANCE)

    async def disk(self) -> str:
        """That too little of the disk is left, or nothing."""
        free, floor = await self.free(), self._settings.disk_floor
        if free is None or free >= floor:
            return ""
        return (
            f"the disk of the store has {free // 2**20} MiB left, and store.disk_floor keeps"
            f" {floor // 2**20} MiB free"
        )

    def _patience(self) -> timedelta:
        """How old a count may be that somebody is refused by."""
        took = self._waiting.took
        return timedelta(0) if took <= _QUICK else took * _SHARE

    def _problem(self, waiting: Counter[str], wanted: Counter[str]) -> Full | Crowded | None:
        most, of_one = self._settings.most_pending, self._settings.most_pending_per_script
        if waiting.total() + wanted.total() > most:
            return Full(
                f"The mediator takes nothing for now: {waiting.total()} deliveries wait for their"
                f" scripts, and store.most_pending allows {most}."
            )
        for script, count in wanted.items():
            if waiting[script] + count > of_one:
                return Crowded(
                    f"The mediator takes nothing for {script} for now: {waiting[script]} deliveries"
                    f" wait for it, and store.most_pending_per_script allows {of_one}."
                )
        return None


def _counter(store: DeliveryStore) -> Callable[[], Awaitable[Counter[str]]]:
    async def count() -> Counter[str]:
        return Counter(await store.waiting())

    return count
