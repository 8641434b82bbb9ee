"""The delivery store: statements on a database, writes grouped, waiters told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, column, table, update

from mediator.model.census import Census
from mediator.model.deliveries import Accepted, Claim, Delivery, Fate, NewDelivery, Repeat, State
from mediator.storage import (
    accepting,
    claiming,
    leases,
    operating,
    reading,
    recording,
    removing,
    sqlite_file,
)
from mediator.storage.group_commit import GroupCommit
from mediator.storage.notices import Notices
from mediator.storage.port import Appetite, Backlog, Finish, Kept, Search
from mediator.storage.sqlite import SqliteDatabase

T = TypeVar("T")
_VERSION = table("alembic_version", column("version_num"))


class SqliteStore:
    """Implements `DeliveryStore` on one SQLite file that this process holds alone."""

    def __init__(self, path: Path) -> None:
        self.notices = Notices()
        self._database = SqliteDatabase(path)
        self._writer = GroupCommit(self._database.transaction)

    async def start(self) -> None:
        """Open the file and upgrade it. Raises `SettingsError`."""
        await asyncio.to_thread(self._database.open)
        self._writer.start()

    async def close(self) -> None:
        """Write what was submitted and let go of the file."""
        await self._writer.close()
        await asyncio.to_thread(self._database.close)

    async def accept(self, new: NewDelivery) -> Accepted:
        """Keep a delivery; committed when this returns. Raises `KeyReused`."""
        accepted: Accepted = await self._writer.submit(accepting.accept, new)
        if accepted.repeat is Repeat.NEW:
            self.notices.work(new.script, interactive=new.interactive)
        return accepted

    async def accept_together(self, news: Sequence[NewDelivery]) -> list[Accepted]:
        """Keep all or none; committed when this returns. Raises `KeyReused`."""
        accepted = await self._write(lambda conn: accepting.accept_together(conn, news))
        for new, answer in zip(news, accepted, strict=True):
            if answer.repeat is Repeat.NEW:
                self.notices.work(new.script, interactive=new.interactive)
        return accepted

    async def recognise(self, news: Sequence[NewDelivery]) -> list[Accepted | None]:
        """Which of them are kept already. Raises `KeyReused`."""
        return await self._database.read(lambda conn: accepting.recognise(conn, news))

    async def claim(self, appetite: Appetite, *, now: datetime, lease: datetime) -> list[Claim]:
        """Take due deliveries, oldest first."""
        return await self._write(lambda conn: claiming.claim(conn, appetite, now=now, lease=lease))

    async def finish(self, finish: Finish) -> State | None:
        """Close an attempt; None when it was no longer the caller's."""
        state: State | None = await self._writer.submit(recording.finish, finish)
        if state is not None and state.ended:
            self.notices.ended([finish.delivery_id])
        return state

    async def renew(
        self, owner: str, running: Collection[str], *, lease: datetime
    ) -> Collection[str]:
        """Extend leases; the ids that are to be stopped."""
        return await self._write(lambda conn: leases.renew(conn, owner, running, lease=lease))

    async def recover(self, owner: str, *, now: datetime) -> Sequence[Fate]:
        """Put back what was lost. The file has one holder: what others held is lost."""
        recovered = await self._write(lambda conn: leases.recover(conn, owner, now=now, alone=True))
        if recovered:
            self.notices.ended([fate.id for fate in recovered if fate.state.ended])
            self.notices.work()
        return recovered

    async def expire(self, *, now: datetime) -> Sequence[Fate]:
        """Cancel interactive deliveries that nobody waits for any more."""
        late = await self._write(lambda conn: leases.expire(conn, now=now))
        self.notices.ended([fate.id for fate in late])
        return late

    async def next_due(self, scripts: Collection[str], *, after: datetime) -> datetime | None:
        """When the next pending delivery of these scripts becomes due."""
        return await self._database.read(lambda conn: claiming.next_due(conn, scripts, after=after))

    async def find(self, delivery_id: str) -> Delivery:
        """One delivery with attempts and outputs. Raises `NotFound`."""
        return await self._database.read(lambda conn: reading.find(conn, delivery_id))

    async def search(self, search: Search) -> list[Delivery]:
        """Deliveries, newest first, without outputs."""
        return await self._database.read(lambda conn: reading.search(conn, search))

    async def retry(self, delivery_id: str, *, now: datetime) -> Delivery:
        """Make it due now. Raises `NotFound` or `Conflict`."""
        delivery = await self._write(lambda conn: operating.retry(conn, delivery_id, now=now))
        self.notices.work()
        return delivery

    async def cancel(self, delivery_id: str, *, now: datetime, reason: str) -> Delivery:
        """End it or have it stopped. Raises `NotFound` or `Conflict`."""
        delivery = await self._write(
            lambda conn: operating.cancel(conn, delivery_id, now=now, reason=reason)
        )
        if delivery.state is State.CANCELLED:
            self.notices.ended([delivery_id])
            self.notices.work()  # the ticket's next delivery may have waited for it
        else:
            self.notices.stop(delivery_id)
        return delivery

    async def remove(self, kept: Kept) -> int:
        """Remove some; 0: there are no more."""
        last = await self._database.read(lambda conn: removing.last_to_go(conn, kept))
        if last is None:
            return 0
        return await self._write(lambda conn: removing.remove(conn, kept, last))

    async def give_back(self) -> bool:
        """Shorten the file a little; whether it can be shortened more."""
        return await self._write(sqlite_file.give_back)

    async def backlog(self) -> Backlog:
        """Counts for metrics."""
        return await self._database.read(reading.backlog)

    async def census(self, *, now: datetime) -> Census:
        """How many deliveries there are, by script and state."""
        return await self._database.read(lambda conn: reading.census(conn, now=now))

    async def size(self) -> int | None:
        """Bytes of the database."""
        return await self._database.read(reading.size)

    async def waiting(self) -> Mapping[str, int]:
        """Script → its pending deliveries."""
        return await self._database.read(reading.waiting)

    async def free(self) -> int | None:
        """Bytes free on the file's disk."""
        return await asyncio.to_thread(self._database.free)

    async def probe(self) -> None:
        """Prove that the file can be written, by a change that changes nothing."""
        await self._write(_touch)

    async def _write(self, work: Callable[[Connection], T]) -> T:
        """A write of its own kind, in the same transaction as its neighbours."""
        return await self._writer.submit(lambda conn, _: [work(conn)], None)


def _touch(conn: Connection) -> None:
    conn.execute(update(_VERSION).values(version_num=_VERSION.c.version_num))
