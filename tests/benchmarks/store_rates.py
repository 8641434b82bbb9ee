"""One store with a backlog: how fast a process of its own accepts, claims and finishes.

`tests.benchmarks.store` compares what is found here.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import uuid_utils

from mediator.model.delivery import Claim, Ended, NewDelivery, Outcome, State, TicketFields, Verdict
from mediator.settings.schema import Store
from mediator.storage.factory import store_of
from mediator.storage.interface import Capacity, Finish

CALLERS = 16
SLOTS = 8
BODY = b"<ticket_info><id>%d</id></ticket_info>" + b" " * 2000
OK = Ended(outcome=Outcome.OK, exit_code=0)
SUCCEEDED = Verdict(state=State.SUCCEEDED)
HOUR = timedelta(hours=1)
Way = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one process measured."""

    bare: float
    """rows in a second that bare SQLite kept"""
    accepts: float
    """deliveries in a second"""
    runs: float
    """deliveries claimed and finished in a second"""
    claims: list[float]
    """seconds of each claim"""
    memory: float
    """MB"""


def handed(number: int) -> NewDelivery:
    now = datetime.now(UTC)
    name = str(uuid_utils.uuid7())
    return NewDelivery(
        id=name,
        script="a.py",
        event="ADVANCE",
        arguments=("one", "two"),
        variables={"SCW_EVENT": "ADVANCE"},
        body=BODY % number,
        ticket=TicketFields(id=str(number), subject="Access request"),
        received=now,
        key_id="securechange",
        idempotency_key=name,
        interactive=False,
        deduplicate_since=now - timedelta(days=1),
    )


class Bench:
    """One store with a backlog, and bare SQLite beside it."""

    def __init__(self, directory: Path, url: str) -> None:
        self.store = store_of(Store(url=url))
        self.claims: list[float] = []
        self.bare = sqlite3.connect(directory / "bare.db", isolation_level=None)
        for statement in (
            "PRAGMA journal_mode=WAL",
            "PRAGMA synchronous=FULL",
            "CREATE TABLE t (id TEXT UNIQUE, body BLOB)",
        ):
            self.bare.execute(statement)
        self._number = 0

    def next(self) -> int:
        self._number += 1
        return self._number

    async def by_bare(self, count: int) -> None:
        for _ in range(count // CALLERS):
            rows = [(str(uuid_utils.uuid7()), BODY % self.next()) for _ in range(CALLERS)]
            self.bare.execute("BEGIN IMMEDIATE")
            self.bare.executemany("INSERT INTO t VALUES (?, ?)", rows)
            self.bare.execute("COMMIT")

    async def accept(self, count: int) -> None:
        left = iter(range(count))

        async def caller() -> None:
            for _ in left:
                await self.store.accept(handed(self.next()))

        await asyncio.gather(*(caller() for _ in range(CALLERS)))

    async def run(self, count: int) -> None:
        """Claim and finish: as many rounds as a dispatcher with eight slots needs."""
        capacity = Capacity(owner="me", interactive_slots=4, slots=SLOTS, room={"a.py": SLOTS})
        done = 0
        while done < count:
            now = datetime.now(UTC)
            began = time.perf_counter()
            claims = await self.store.claim(capacity, now=now, lease=now + HOUR)
            self.claims.append(time.perf_counter() - began)
            await asyncio.gather(*(self.finish(claim) for claim in claims))
            done += len(claims)

    async def finish(self, claim: Claim) -> None:
        finish = Finish(
            delivery_id=claim.delivery.id,
            owner="me",
            number=claim.number,
            at=datetime.now(UTC),
            ended=OK,
            verdict=SUCCEEDED,
        )
        await self.store.finish(finish)


async def rate(way: Way, count: int) -> float:
    """Operations in a second."""
    began = time.perf_counter()
    await way(count)
    return count / (time.perf_counter() - began)


async def _measured(directory: Path, url: str, count: int) -> Figures:
    bench = Bench(directory, url)
    await bench.store.start()
    bare, accepts, runs = [
        await rate(way, count) for way in (bench.by_bare, bench.accept, bench.run)
    ]
    await bench.store.close()
    bench.bare.close()
    memory = psutil.Process().memory_info().rss / 1e6
    return Figures(bare=bare, accepts=accepts, runs=runs, claims=bench.claims, memory=memory)


def measured(directory: Path, url: str, count: int) -> Figures:
    """Of so many deliveries; `directory` is empty."""
    return asyncio.run(_measured(directory, url, count))
