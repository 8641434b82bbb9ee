"""The delivery store: statements on a database, writes grouped, waiters told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol, TypeVar

from sqlalchemy import Connection, column, table, update

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
from mediator.storage import accept, claim, prune, queries, sqlite, transitions
from mediator.storage.group_commit import GroupCommit
from mediator.storage.interface import Appetite, Backlog, Finish, Held, Kept, Search
from mediator.storage.notices import Notices
from mediator.storage.sqlite import SqliteDatabase

T = TypeVar("T")
_VERSION = table("alembic_version", column("version_num"))


class Database(Protocol):
    """Where statements run."""

    def open(self) -> None:
        """Make it ready. Raises `SettingsError` or `StoreUnavailable`."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on a consistent snapshot. Raises `StoreUnavailable`."""
        ...


class Tell(Protocol):
    """Hints to all who wait for changes of the store; `Notices` has the words."""

    def work(self, script: str | None = None, *, interactive: bool = False) -> None:
        """Something may be due."""
        ...

    def ended(self, delivery_ids: Iterable[str]) -> None:
        """These deliveries ended."""
        ...

    def stop(self, delivery_id: str) -> None:
        """Whoever runs it is to stop it."""
        ...


class SqlStore:
    """What every store does alike."""

    alone: bool

    def __init__(
        self, database: Database, writer: GroupCommit, *, notices: Notices, tell: Tell
    ) -> None:
        self.notices = notices
        self._tell = tell
        self._database = database
        self._writer = writer

    async def start(self) -> None:
        """Open the database and begin to write."""
        await asyncio.to_thread(self._database.open)
        self._writer.start()

    async def close(self) -> None:
        """Write what was submitted and let go of the database."""
        await self._writer.close()
        await asyncio.to_thread(self._database.close)

    async def accept(self, new: NewDelivery) -> Accepted:
        """Keep a delivery; committed when this returns. Raises `KeyReused`."""
        accepted: Accepted = await self._writer.submit(accept.accept, new)
        if accepted.repeat is Repeat.NEW:
            self._tell.work(new.script, interactive=new.interactive)
        return accepted

    async def accept_together(self, news: Sequence[NewDelivery]) -> list[Accepted]:
        """Keep all or none; committed when this returns. Raises `KeyReused`."""
        accepted = await self._write(lambda conn: accept.accept_together(conn, news))
        for new, answer in zip(news, accepted, strict=True):
            if answer.repeat is Repeat.NEW:
                self._tell.work(new.script, interactive=new.interactive)
        return accepted

    async def recognise(self, news: Sequence[NewDelivery]) -> list[Accepted | None]:
        """Which of them are kept already. Raises `KeyReused`."""
        return await self._database.read(lambda conn: accept.recognise(conn, news))

    async def claim(self, appetite: Appetite, *, now: datetime, lease: datetime) -> list[Claim]:
        """Take due deliveries, oldest first."""
        return await self._write(lambda conn: claim.claim(conn, appetite, now=now, lease=lease))

    async def finish(self, finish: Finish) -> State | None:
        """Close an attempt; None when it was no longer the caller's."""
        state: State | None = await self._writer.submit(transitions.finish, finish)
        if state is not None and state.ended:
            self._tell.ended([finish.delivery_id])
        return state

    async def renew(
        self, owner: str, running: Collection[str], *, lease: datetime
    ) -> Collection[str]:
        """Extend leases; the ids that are to be stopped."""
        return await self._write(lambda conn: transitions.renew(conn, owner, running, lease=lease))

    async def held(self) -> list[Held]:
        """What runs."""
        return await self._database.read(transitions.held)

    async def recover(self, lost: Collection[Held], *, now: datetime) -> Sequence[Fate]:
        """Put back what is still as it was seen."""
        if not lost:
            return ()
        recovered = await self._write(lambda conn: transitions.recover(conn, lost, now=now))
        if recovered:
            self._tell.ended([fate.id for fate in recovered if fate.state.ended])
            self._tell.work()
        return recovered

    async def adopt(
        self, lost: Collection[Held], *, owner: str, lease: datetime
    ) -> Sequence[Claim]:
        """Take over attempts that run without their dispatcher."""
        if not lost:
            return ()
        return await self._write(
            lambda conn: transitions.adopt(conn, lost, owner=owner, lease=lease)
        )

    async def clamp_due(self, latest: Mapping[str, datetime], *, now: datetime) -> int:
        """Make due now what is due later than `latest` of its script."""
        count = await self._write(lambda conn: claim.clamp_due(conn, latest, now=now))
        if count:
            self._tell.work()
        return count

    async def expire(self, *, now: datetime) -> Sequence[Fate]:
        """Cancel interactive deliveries that nobody waits for any more."""
        late = await self._write(lambda conn: transitions.expire(conn, now=now))
        self._tell.ended([fate.id for fate in late])
        return late

    async def next_due(self, scripts: Collection[str], *, after: datetime) -> datetime | None:
        """When the next pending delivery of these scripts becomes due."""
        return await self._database.read(lambda conn: claim.next_due(conn, scripts, after=after))

    async def find(self, delivery_id: str) -> Delivery:
        """One delivery with attempts and outputs. Raises `NotFound`."""
        return await self._database.read(lambda conn: queries.find(conn, delivery_id))

    async def body(self, delivery_id: str) -> bytes:
        """The ticket of one delivery. Raises `NotFound`."""
        return await self._database.read(lambda conn: queries.body(conn, delivery_id))

    async def search(self, search: Search) -> list[Delivery]:
        """Deliveries, newest first, without outputs."""
        return await self._database.read(lambda conn: queries.search(conn, search))

    async def retry(self, delivery_id: str, *, now: datetime) -> Delivery:
        """Make it due now. Raises `NotFound` or `Conflict`."""
        delivery = await self._write(lambda conn: transitions.retry(conn, delivery_id, now=now))
        self._tell.work()
        return delivery

    async def cancel(self, delivery_id: str, *, now: datetime, reason: str) -> Delivery:
        """End it or have it stopped. Raises `NotFound` or `Conflict`."""
        delivery = await self._write(
            lambda conn: transitions.cancel(conn, delivery_id, now=now, reason=reason)
        )
        if delivery.state is State.CANCELLED:
            self._tell.ended([delivery_id])
            self._tell.work()  # the ticket's next delivery may have waited for it
        else:
            self._tell.stop(delivery_id)
        return delivery

    async def remove(self, kept: Kept) -> int:
        """Remove some; 0: there are no more."""
        last = await self._database.read(lambda conn: prune.last_to_go(conn, kept))
        if last is None:
            return 0
        return await self._write(lambda conn: prune.remove(conn, kept, last))

    async def backlog(self) -> Backlog:
        """Counts for metrics."""
        return await self._database.read(queries.backlog)

    async def census(self, *, now: datetime) -> Census:
        """How many deliveries there are, by script and state."""
        return await self._database.read(lambda conn: queries.census(conn, now=now))

    async def size(self) -> int | None:
        """Bytes of the database."""
        return await self._database.read(queries.size)

    async def waiting(self) -> Mapping[str, int]:
        """Script → its pending deliveries."""
        return await self._database.read(queries.waiting)

    async def ends(
        self, *, since: datetime, until: datetime, step: timedelta
    ) -> Mapping[tuple[int, State], int]:
        """How many deliveries ended, by step and state."""
        return await self._database.read(
            lambda conn: queries.ends(conn, since=since, until=until, step=step)
        )

    async def recent(self, scripts: Collection[str], *, most: int) -> Mapping[str, list[Delivery]]:
        """Script → its latest deliveries."""
        return await self._database.read(lambda conn: queries.recent(conn, scripts, most=most))

    async def place(self, at: datetime) -> int:
        """About which `seq` came first at `at` or later."""
        return await self._database.read(lambda conn: queries.place(conn, at))

    async def change_token(self) -> Hashable:
        """Another one when something has happened."""
        return await self._database.read(queries.change_token)

    async def probe(self) -> None:
        """Prove that it can be written, by a change that changes nothing."""
        await self._write(_touch)

    async def _write(self, work: Callable[[Connection], T]) -> T:
        """A write of its own kind, in the same transaction as its neighbours."""
        return await self._writer.submit(lambda conn, _: [work(conn)], None)


class SqliteStore(SqlStore):
    """Implements `DeliveryStore` on one SQLite file that this process holds alone."""

    alone = True
    _database: SqliteDatabase

    def __init__(self, path: Path) -> None:
        database, notices = SqliteDatabase(path), Notices()
        writer = GroupCommit(database.transaction)
        super().__init__(database, writer, notices=notices, tell=notices)

    async def vacuum_step(self) -> bool:
        """Shorten the file a little; whether it can be shortened more."""
        return await self._write(sqlite.vacuum_step)

    async def free(self) -> int | None:
        """Bytes free on the file's disk."""
        return await asyncio.to_thread(self._database.free)


def _touch(conn: Connection) -> None:
    conn.execute(update(_VERSION).values(version_num=_VERSION.c.version_num))
