"""The delivery store: statements on a database, writes grouped, each timed, waiters told.

What ends by an attempt is counted where attempts are made; here is counted what only the store
knows: an attempt that was lost, and what ended without one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection, column, table, update

from mediator.errors import StoreUnavailable
from mediator.metrics import Metrics
from mediator.model.delivery import (
    Accepted,
    Census,
    Claim,
    Delivery,
    Fate,
    NewDelivery,
    Repeat,
    State,
)
from mediator.storage import accept, claim, prune, queries, transitions
from mediator.storage.group_commit import LARGEST_GROUP, GroupCommit
from mediator.storage.interface import Backlog, Capacity, Finish, Held, RetentionRule, Search
from mediator.storage.notices import Notices, Notifier

P = ParamSpec("P")
T = TypeVar("T")

READERS = 4
"""How many reads go on at once; each has a thread and a connection."""


class SqlStore:
    """Implements `DeliveryStore` on a database."""

    def __init__(
        self,
        database: Database,
        *,
        metrics: Metrics | None = None,
        notices: Notices | None = None,
        tell: Notifier | None = None,
        largest_group: int = LARGEST_GROUP,
    ) -> None:
        """`tell`: who hears of changes, by default who waits for `notices`.

        `largest_group`: how many writes share a transaction.
        """
        self.alone = database.alone
        self.notices = notices or Notices()
        self._tell = tell or self.notices
        self._metrics = metrics or Metrics()
        self._database = database
        self._writer = GroupCommit(database.write, largest=largest_group)
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")

    async def start(self) -> None:
        """Open the database and begin to write. Raises `SettingsError` or `StoreUnavailable`."""
        await asyncio.to_thread(self._database.open)
        self._writer.start()

    async def close(self) -> None:
        """Write what was submitted and let go of the database."""
        await self._writer.close()
        await asyncio.to_thread(self._threads.shutdown)
        await asyncio.to_thread(self._database.close)

    # Deliveries come.

    async def accept(self, new: NewDelivery) -> Accepted:
        """Keep a delivery; committed when this returns. Raises `KeyReused`."""
        with self._metrics.store.timed("accept"):
            accepted: Accepted = await self._writer.submit(accept.accept, new)
        self._tell_of([new], [accepted])
        return accepted

    async def accept_together(self, news: Sequence[NewDelivery]) -> list[Accepted]:
        """Keep all or none; committed when this returns. Raises `KeyReused`."""
        accepted = await self._write("accept", accept.accept_together, news)
        self._tell_of(news, accepted)
        return accepted

    def _tell_of(self, news: Sequence[NewDelivery], accepted: Sequence[Accepted]) -> None:
        for new, answer in zip(news, accepted, strict=True):
            if answer.repeat is Repeat.NEW:
                self._tell.work(new.script, interactive=new.interactive)

    async def recognise(self, news: Sequence[NewDelivery]) -> list[Accepted | None]:
        """Which of them are kept already. Raises `KeyReused`."""
        return await self._read("read", accept.recognise, news)

    # A dispatcher takes them, keeps them leased, and records their ends.

    async def claim(self, capacity: Capacity, *, now: datetime, lease: datetime) -> list[Claim]:
        """Take due deliveries, oldest first."""
        return await self._write("claim", claim.claim, capacity, now=now, lease=lease)

    async def next_due(self, scripts: Collection[str], *, after: datetime) -> datetime | None:
        """When the next pending delivery of these scripts becomes due."""
        return await self._read("read", claim.next_due, scripts, after=after)

    async def clamp_due(self, latest: Mapping[str, datetime], *, now: datetime) -> int:
        """Make due now what is due later than `latest` of its script."""
        count = await self._write("lease", claim.clamp_due, latest, now=now)
        if count:
            self._tell.work()
        return count

    async def finish(self, finish: Finish) -> State | None:
        """Close an attempt; None when it was no longer the caller's."""
        with self._metrics.store.timed("finish"):
            state: State | None = await self._writer.submit(transitions.finish, finish)
        if state is not None and state.ended:
            self._tell.ended([finish.delivery_id])
        return state

    async def renew(
        self, owner: str, running: Collection[str], *, lease: datetime
    ) -> Collection[str]:
        """Extend leases; the ids that are to be stopped."""
        return await self._write("lease", transitions.renew, owner, running, lease=lease)

    async def held(self) -> list[Held]:
        """All attempts that run."""
        return await self._read("lease", transitions.held)

    async def recover(self, lost: Collection[Held], *, now: datetime) -> Sequence[Fate]:
        """Put back what is still as it was seen, and count it."""
        if not lost:
            return ()
        fates = await self._write("lease", transitions.recover, lost, now=now)
        for fate in fates:
            self._metrics.attempts.lost(fate)
        self._count_ends(fates, now)
        if fates:
            self._tell.ended([fate.id for fate in fates if fate.state.ended])
            self._tell.work()
        return fates

    async def adopt(
        self, lost: Collection[Held], *, owner: str, lease: datetime
    ) -> Sequence[Claim]:
        """Take over attempts that run without their dispatcher."""
        if not lost:
            return ()
        return await self._write("lease", transitions.adopt, lost, owner=owner, lease=lease)

    async def expire(self, *, now: datetime) -> Sequence[Fate]:
        """Cancel interactive deliveries that nobody waits for any more, and count them."""
        late = await self._write("lease", transitions.expire, now=now)
        self._count_ends(late, now)
        self._tell.ended([fate.id for fate in late])
        return late

    # An operator looks for deliveries, and changes what becomes of them.

    async def find(self, delivery_id: str) -> Delivery:
        """One delivery with attempts and outputs. Raises `NotFound`."""
        return await self._read("read", queries.find, delivery_id)

    async def body(self, delivery_id: str) -> bytes:
        """The ticket of one delivery. Raises `NotFound`."""
        return await self._read("read", queries.body, delivery_id)

    async def search(self, search: Search) -> list[Delivery]:
        """Deliveries, newest first, without outputs."""
        return await self._read("read", queries.search, search)

    async def retry(self, delivery_id: str, *, now: datetime) -> Delivery:
        """Make it due now, and count that. Raises `NotFound` or `Conflict`."""
        delivery = await self._write("change", transitions.retry, delivery_id, now=now)
        self._metrics.attempts.retried(delivery)
        self._tell.work()
        return delivery

    async def cancel(self, delivery_id: str, *, now: datetime, reason: str) -> Delivery:
        """End it, which is counted, or have it stopped. Raises `NotFound` or `Conflict`."""
        delivery = await self._write(
            "change", transitions.cancel, delivery_id, now=now, reason=reason
        )
        if delivery.state.ended:
            self._count_ends([delivery], now)
            self._tell.ended([delivery_id])
            self._tell.work()  # the ticket's next delivery may have waited for it
        else:
            self._tell.stop(delivery_id)
        return delivery

    def _count_ends(self, fates: Sequence[Fate | Delivery], now: datetime) -> None:
        for fate in fates:
            if fate.state.ended:
                self._metrics.attempts.ended(fate, fate.state, now)

    # What ended long ago goes.

    async def remove(self, rule: RetentionRule) -> int:
        """Remove some; 0: there are no more."""
        with self._metrics.store.timed("remove"):
            last = await self._snapshot(prune.cutoff, rule)
            return 0 if last is None else await self._submit(prune.remove, rule, last)

    async def vacuum_step(self) -> bool:
        """Give a little unused space back to the disk; whether there is more."""
        return await self._write("remove", self._database.vacuum_step)

    # Summaries, for metrics and the console.

    async def backlog(self) -> Backlog:
        """How many wait, run and are dead."""
        return await self._read("count", queries.backlog)

    async def census(self, *, now: datetime) -> Census:
        """How many deliveries there are, by script and state."""
        return await self._read("count", queries.census, now=now)

    async def waiting(self) -> Mapping[str, int]:
        """Script → its pending deliveries."""
        return await self._read("count", queries.waiting)

    async def ends(
        self, *, since: datetime, until: datetime, step: timedelta
    ) -> Mapping[tuple[int, State], int]:
        """How many deliveries ended, by step and state."""
        return await self._read("read", queries.ends, since=since, until=until, step=step)

    async def recent(self, scripts: Collection[str], *, most: int) -> Mapping[str, list[Delivery]]:
        """Script → its latest deliveries."""
        return await self._read("read", queries.recent, scripts, most=most)

    async def seq_at(self, at: datetime) -> int:
        """About which `seq` came first at `at` or later."""
        return await self._read("read", queries.seq_at, at)

    async def change_token(self) -> Hashable:
        """Another one when something has happened."""
        return await self._read("read", queries.change_token)

    # How the store itself is.

    async def size(self) -> int | None:
        """Bytes of the database."""
        return await self._read("count", queries.size)

    async def free(self) -> int | None:
        """Bytes free where it is kept; None: it cannot tell."""
        with self._metrics.store.timed("count"):
            return await asyncio.to_thread(self._database.free)

    async def probe(self) -> None:
        """Prove that it can be written, by a change that changes nothing."""
        await self._write("probe", touch)

    # Every statement passes here.

    async def _read(
        self,
        operation: str,
        work: Callable[Concatenate[Connection, P], T],
        /,
        *args: P.args,
        **named: P.kwargs,
    ) -> T:
        with self._metrics.store.timed(operation):
            return await self._snapshot(work, *args, **named)

    async def _snapshot(
        self, work: Callable[Concatenate[Connection, P], T], /, *args: P.args, **named: P.kwargs
    ) -> T:
        """Run `work` on a snapshot of the database, not timed. Raises `StoreUnavailable`."""
        patience = self._database.patience
        try:
            reading = asyncio.get_running_loop().run_in_executor(
                self._threads, self._database.read, lambda conn: work(conn, *args, **named)
            )
        except RuntimeError as error:  # the threads are gone
            raise StoreUnavailable("the store is closed; the mediator is not running") from error
        try:
            async with asyncio.timeout(patience):
                return await reading
        except TimeoutError:
            raise StoreUnavailable(
                f"the store cannot be used now: the database did not answer within {patience:g}"
                " seconds"
            ) from None

    async def _write(
        self,
        operation: str,
        work: Callable[Concatenate[Connection, P], T],
        /,
        *args: P.args,
        **named: P.kwargs,
    ) -> T:
        with self._metrics.store.timed(operation):
            return await self._submit(work, *args, **named)

    async def _submit(
        self, work: Callable[Concatenate[Connection, P], T], /, *args: P.args, **named: P.kwargs
    ) -> T:
        """A write of its own kind, in the same transaction as its neighbours."""
        return await self._writer.submit(lambda conn, _: [work(conn, *args, **named)], None)


class Database(Protocol):
    """Where statements run, in whatever thread asks."""

    @property
    def alone(self) -> bool:
        """Whether no other mediator can be using it."""
        ...

    @property
    def patience(self) -> float | None:
        """Seconds a read may take with its place in the queue; None: as long as it takes."""
        ...

    def open(self) -> None:
        """Make it ready. Raises `SettingsError` or `StoreUnavailable`."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...

    def write(self, work: Callable[[Connection], object]) -> None:
        """Run `work` in one transaction and commit it; one thread writes.

        Raises `StoreUnavailable`, and then nothing of it is stored.
        """
        ...

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on a consistent snapshot. Raises `StoreUnavailable`."""
        ...

    def vacuum_step(self, conn: Connection) -> bool:
        """Give a little unused space back to the disk, if much is unused; whether there is more."""
        ...

    def free(self) -> int | None:
        """Bytes free where it is kept; None: it cannot tell. Raises `StoreUnavailable`."""
        ...


def unavailable(error: Exception) -> StoreUnavailable:
    """What an error of the database means to who asked."""
    return StoreUnavailable(f"the store cannot be used now: {cause(error)}; nothing was stored")


def cause(error: Any) -> str:
    """What the driver says, in one line: some say in several what they tried."""
    return " ".join(str(getattr(error, "orig", None) or error).split())


_VERSION = table("alembic_version", column("version_num"))


def touch(conn: Connection) -> None:
    """A change that changes nothing."""
    conn.execute(update(_VERSION).values(version_num=_VERSION.c.version_num))
