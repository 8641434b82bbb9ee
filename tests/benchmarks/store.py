"""What keeping, claiming and recording deliveries costs with ever more of them waiting.

    python -m tests.benchmarks.store [--directory .] [--count 2000] [--rounds 3]
                                     [--pending 0 10000 100000 1000000]
                                     [--store sqlite postgresql] [--url postgresql://...]

For each store and number of pending deliveries, in a process of its own:

* accepts in a second by 16 callers at once, and its ratio to bare SQLite: `executemany` of 16 rows
  of the same bytes into a table of its own, and a commit with the same fsyncs;
* deliveries claimed (eight at a time) and finished in a second, and how long one such claim takes;
* the resident memory of that process after it;
* then for a whole mediator on it, whose one slot is taken: signed hand-overs in a second by 16
  connections, the longest a hand-over waited, and the daemon's resident memory after them.

Medians of alternating rounds. Only the ratios, and how they change with what is pending, say
something about another machine. PostgreSQL is a server started for this in the same directory, with
the settings it has by itself (`fsync` and `full_page_writes` are on), unless `--url` names an empty
database; its deliveries are removed before each backlog.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import psycopg
import uuid_utils

from mediator.model.attempts import Ended, Outcome
from mediator.model.deliveries import Claim, NewDelivery, State, TicketFields, Verdict
from mediator.settings.tree import Store
from mediator.storage.choosing import migrate, store_of
from mediator.storage.port import Appetite, Finish
from tests.benchmarks.filling import fill
from tests.benchmarks.load import send, tickets
from tests.support import postgresql
from tests.support.mediator import Mediator

CALLERS = 16
SLOTS = 8
BODY = b"<ticket_info><id>%d</id></ticket_info>" + b" " * 2000
OK = Ended(outcome=Outcome.OK, exit_code=0)
SUCCEEDED = Verdict(state=State.SUCCEEDED)
HOUR = timedelta(hours=1)
WAITS = "#!/bin/sh\nexec sleep 100000\n"
ROOM = 2_000_000_000
WARMING = 200
HANDOVERS = 4
"""times `--count` for a whole mediator: it counts what waits anew every five seconds"""
Way = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one process measured."""

    rates: dict[str, float]
    """operations in a second, by name"""
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


async def _measured(directory: Path, url: str, count: int, rounds: int) -> Figures:
    bench = Bench(directory, url)
    await bench.store.start()
    rates = await measure(bench, count=count, rounds=rounds)
    await bench.store.close()
    bench.bare.close()
    memory = psutil.Process().memory_info().rss / 1e6
    return Figures(rates=rates, claims=bench.claims, memory=memory)


def _child(directory: Path, url: str, count: int, rounds: int) -> Figures:
    return asyncio.run(_measured(directory, url, count, rounds))


async def _first(url: str) -> None:
    """The delivery that the others are copies of."""
    store = store_of(Store(url=url))
    await store.start()
    await store.accept(handed(0))
    await store.close()


def prepare(url: str, pending: int) -> None:
    """The schema, and nothing but so many pending deliveries."""
    migrate(Store(url=url), only_look=False)
    if url.startswith("postgresql"):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("TRUNCATE deliveries CASCADE")
    if pending:
        asyncio.run(_first(url))
        fill(url, pending - 1)


def whole(home: Path, url: str, count: int) -> tuple[float, float, float]:
    """Of a mediator: hand-overs in a second, the longest wait of one in ms, and MB."""
    settings = {
        "store": {"url": url, "most_pending": ROOM, "most_pending_per_script": ROOM},
        "dispatch": {"slots": 1, "interactive_slots": 1},
    }
    mediator = Mediator(home, settings)
    mediator.script("a.py", WAITS)
    with mediator:
        send(mediator.url, tickets(WARMING, script="a.py"))
        waits: list[float] = []
        seconds, statuses = send(
            mediator.url, tickets(count + WARMING, script="a.py")[WARMING:], waits=waits
        )
        if set(statuses) != {202}:
            raise SystemExit(f"not all were taken: {statuses}")
        memory = psutil.Process(mediator.pid).memory_info().rss / 1e6
    return count / seconds, max(waits) * 1000, memory


HEAD = (
    "store        pending  accepts/s  to bare  claimed+finished/s  claim ms: median   p99"
    "  memory MB  | mediator: hand-overs/s  longest ms  memory MB"
)


def row(name: str, pending: int, found: Figures, mediator: tuple[float, float, float]) -> str:
    claims = sorted(found.claims)
    median, p99 = (claims[int(len(claims) * part)] * 1000 for part in (0.5, 0.99))
    rates = found.rates
    accepts = rates["accept"]
    return (
        f"{name:10} {pending:9}  {accepts:9.0f}  {accepts / rates['bare SQLite']:7.2f}"
        f"  {rates['claim and finish']:18.0f}  {median:16.1f} {p99:5.1f}  {found.memory:9.0f}"
        f"  | {mediator[0]:22.0f}  {mediator[1]:10.0f}  {mediator[2]:9.0f}"
    )


def compare(name: str, url: str | None, pending: int, asked: argparse.Namespace) -> None:
    """One row."""
    with tempfile.TemporaryDirectory(dir=asked.directory) as scratch:
        home = Path(scratch).absolute()
        where = url or f"sqlite:///{home / 'mediator.db'}"
        prepare(where, pending)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found: Figures = pool.apply(_child, (home, where, asked.count, asked.rounds))
        tell(row(name, pending, found, whole(home / "whole", where, asked.count * HANDOVERS)))


@contextmanager
def _server(directory: Path) -> Iterator[str]:
    with (
        postgresql.running(postgresql.DURABLE, directory=directory) as server,
        server.database() as url,
    ):
        yield url


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path())
    parser.add_argument("--store", nargs="+", default=["sqlite", "postgresql"])
    parser.add_argument("--url")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pending", type=int, nargs="+", default=[0, 10_000, 100_000, 1_000_000])
    asked = parser.parse_args()
    asked.directory = asked.directory.absolute()
    tell(f"load average at the start: {os.getloadavg()[0]:.1f}")
    tell(HEAD)
    if "sqlite" in asked.store:
        for pending in asked.pending:
            compare("sqlite", None, pending, asked)
    if "postgresql" in asked.store and asked.url:
        for pending in asked.pending:
            compare("postgresql", asked.url, pending, asked)
    elif "postgresql" in asked.store:
        with _server(asked.directory) as url:
            for pending in asked.pending:
                compare("postgresql", url, pending, asked)
    tell(f"load average at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
