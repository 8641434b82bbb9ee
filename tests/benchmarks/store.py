"""What keeping, claiming and recording deliveries costs, beside bare SQLite on the same disk.

    python -m tests.benchmarks.store [--directory .] [--count 2000] [--rounds 3]
                                     [--pending 0 10000 100000] [--url postgresql://...]

Bare SQLite writes the same bytes into a table of its own with the same fsyncs: `executemany` of 16
rows and a commit, for what 16 callers at once are measured against. Prints operations in a second,
the median of alternating rounds, the ratio to bare SQLite, and how long one claim of eight takes.
Only the ratios say something about another machine. With `--url` the store is an empty database of
PostgreSQL, which gets the schema; its deliveries are removed before each backlog.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import uuid_utils

from mediator.model.attempts import Ended, Outcome
from mediator.model.deliveries import Claim, NewDelivery, State, TicketFields, Verdict
from mediator.settings.tree import Store
from mediator.storage.choosing import migrate, store_of
from mediator.storage.port import Appetite, Finish

CALLERS = 16
SLOTS = 8
STEP = 10_000
BODY = b"<ticket_info><id>%d</id></ticket_info>" + b" " * 2000
OK = Ended(outcome=Outcome.OK, exit_code=0)
SUCCEEDED = Verdict(state=State.SUCCEEDED)
HOUR = timedelta(hours=1)
Way = Callable[[int], Awaitable[None]]


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

    def __init__(self, directory: Path, url: str | None) -> None:
        settings = Store(url=url or f"sqlite:///{directory.absolute() / 'mediator.db'}")
        migrate(settings, only_look=False)
        self.store = store_of(settings)
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
        appetite = Appetite(owner="me", interactive_slots=4, slots=SLOTS, room={"a.py": SLOTS})
        done = 0
        while done < count:
            now = datetime.now(UTC)
            began = time.perf_counter()
            claims = await self.store.claim(appetite, now=now, lease=now + HOUR)
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

    async def backlog(self, pending: int) -> None:
        there = (await self.store.backlog()).pending
        for left in range(pending - there, 0, -STEP):  # not a million tickets in memory at once
            await asyncio.gather(
                *(self.store.accept(handed(self.next())) for _ in range(min(left, STEP)))
            )


async def rate(way: Way, count: int) -> float:
    """Operations in a second."""
    began = time.perf_counter()
    await way(count)
    return count / (time.perf_counter() - began)


async def measure(bench: Bench, *, count: int, rounds: int) -> dict[str, float]:
    ways: dict[str, Way] = {
        "bare SQLite": bench.by_bare,
        "accept": bench.accept,
        "claim and finish": bench.run,
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            rates[name].append(await rate(way, count))
    return {name: statistics.median(found) for name, found in rates.items()}


async def compare(
    directory: Path, url: str | None, *, count: int, rounds: int, pending: list[int]
) -> None:
    print(f"{'pending':>8}  {'what':18} {'per second':>10}  ratio to bare")  # noqa: T201
    for backlog in pending:
        with tempfile.TemporaryDirectory(dir=directory) as scratch:
            if url is not None:
                empty(url)
            bench = Bench(Path(scratch), url)
            await bench.store.start()
            await bench.backlog(backlog)
            found = await measure(bench, count=count, rounds=rounds)
            for name, figure in found.items():
                ratio = figure / found["bare SQLite"]
                print(f"{backlog:8}  {name:18} {figure:10.0f}  {ratio:.2f}")  # noqa: T201
            claim = statistics.median(bench.claims) * 1000
            print(f"{backlog:8}  {'one claim':18} {claim:8.1f} ms")  # noqa: T201
            await bench.store.close()
            bench.bare.close()


def empty(url: str) -> None:
    """Nothing is left of the backlog before."""
    migrate(Store(url=url), only_look=False)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE deliveries CASCADE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path())
    parser.add_argument("--url")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pending", type=int, nargs="+", default=[0, 10_000, 100_000])
    options = parser.parse_args()
    asyncio.run(
        compare(
            options.directory,
            options.url,
            count=options.count,
            rounds=options.rounds,
            pending=options.pending,
        )
    )


if __name__ == "__main__":
    main()
