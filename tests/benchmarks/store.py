"""What keeping, claiming and recording deliveries costs with ever more of them waiting.

    python -m tests.benchmarks.store [--directory .] [--count 2000] [--rounds 3]
                                     [--pending 0 10000 100000 1000000]
                                     [--store sqlite postgresql] [--no-mediator]

For each store a database for each number of pending deliveries, all at once, and rounds that go
through them forth and back, so that other work on the machine meets all alike. In each round and
for each database, in a process of its own:

* accepts in a second by 16 callers at once, and its ratio to bare SQLite: `executemany` of 16 rows
  of the same bytes into a table of its own, and a commit with the same fsyncs;
* deliveries claimed (eight at a time) and finished in a second, and how long one such claim takes;
* the resident memory of that process after it.

Then once for each database a whole mediator on it, whose one slot is taken: signed hand-overs in a
second by 16 connections, the longest a hand-over waited, and the daemon's resident memory after
them.

Ratios are the median of those within each round; all else are medians of the rounds. Only the
ratios say something about another machine. PostgreSQL is a server started for this in the same
directory, with the settings it has by itself (`fsync` and `full_page_writes` are on).
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path

import psutil

from mediator.settings.schema import Store
from mediator.storage.factory import migrate, store_of
from tests.benchmarks.backlog import fill
from tests.benchmarks.load import send, tickets
from tests.benchmarks.store_rates import Figures, handed, measured
from tests.support import postgresql
from tests.support.mediator import Mediator

WAITS = "#!/bin/sh\nexec sleep 100000\n"
ROOM = 2_000_000_000
WARMING = 200
HANDOVERS = 4
"""times `--count` for a whole mediator: it counts what waits anew every five seconds"""
HEAD = (
    "store        pending  accepts/s  to bare  to none  claimed+finished/s  to none"
    "  claim ms: median   p99  to none  memory MB"
)
HEAD_OF_MEDIATORS = "store        pending  mediator: hand-overs/s  longest ms  memory MB"


async def _first(url: str) -> None:
    """The delivery that the others are copies of."""
    store = store_of(Store(url=url))
    await store.start()
    await store.accept(handed(0))
    await store.close()


def prepare(url: str, pending: int) -> None:
    """The schema, and nothing but so many pending deliveries."""
    migrate(Store(url=url), only_look=False)
    if pending:
        asyncio.run(_first(url))
        fill(url, pending - 1)


def measure(directory: Path, url: str, count: int) -> Figures:
    """In a process of its own."""
    with (
        tempfile.TemporaryDirectory(dir=directory) as scratch,
        multiprocessing.get_context("spawn").Pool(1) as pool,
    ):
        return pool.apply(measured, (Path(scratch), url, count))


def rounds(
    directory: Path, urls: dict[int, str], *, count: int, times: int
) -> dict[int, list[Figures]]:
    """Figures by backlog, one of each round."""
    found: dict[int, list[Figures]] = {pending: [] for pending in urls}
    for number in range(times):
        for pending in list(urls) if number % 2 == 0 else reversed(urls):
            found[pending].append(measure(directory, urls[pending], count))
    return found


def ratio(these: list[Figures], those: list[Figures], of: Callable[[Figures], float]) -> float:
    """Median of the rounds."""
    return statistics.median(of(a) / of(b) for a, b in zip(these, those, strict=True))


def median(values: Iterable[float]) -> float:
    """Of the rounds."""
    return statistics.median(values)


def _claim(figures: Figures) -> float:
    return statistics.median(figures.claims)


def row(name: str, pending: int, found: list[Figures], none: list[Figures]) -> str:
    """One line; `none`: with the smallest backlog."""
    claims = sorted(seconds * 1000 for figures in found for seconds in figures.claims)
    return (
        f"{name:10} {pending:9}  {median(f.accepts for f in found):9.0f}"
        f"  {median(f.accepts / f.bare for f in found):7.2f}"
        f"  {ratio(found, none, lambda f: f.accepts):7.2f}"
        f"  {median(f.runs for f in found):18.0f}  {ratio(found, none, lambda f: f.runs):7.2f}"
        f"  {median(claims):16.1f} {claims[int(len(claims) * 0.99)]:5.1f}"
        f"  {ratio(found, none, _claim):7.2f}  {median(f.memory for f in found):9.0f}"
    )


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


def compare(name: str, home: Path, urls: dict[int, str], asked: argparse.Namespace) -> None:
    """One store."""
    for pending, url in urls.items():
        prepare(url, pending)
    found = rounds(home, urls, count=asked.count, times=asked.rounds)
    tell(HEAD)
    for pending in urls:
        tell(row(name, pending, found[pending], found[min(urls)]))
    if asked.mediator:
        tell(HEAD_OF_MEDIATORS)
        for pending, url in urls.items():
            rate, longest, memory = whole(home / f"whole-{pending}", url, asked.count * HANDOVERS)
            tell(f"{name:10} {pending:9}  {rate:22.0f}  {longest:10.0f}  {memory:9.0f}")


def sqlite(home: Path, asked: argparse.Namespace) -> None:
    """In files of their own."""
    urls = {pending: f"sqlite:///{home / f'{pending}.db'}" for pending in asked.pending}
    compare("sqlite", home, urls, asked)


def on_postgresql(home: Path, asked: argparse.Namespace) -> None:
    """In databases of one server."""
    with ExitStack() as stack:
        started = postgresql.running(postgresql.DURABLE, directory=asked.directory)
        server = stack.enter_context(started)
        urls = {pending: stack.enter_context(server.database()) for pending in asked.pending}
        compare("postgresql", home, urls, asked)


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path())
    parser.add_argument("--store", nargs="+", default=["sqlite", "postgresql"])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pending", type=int, nargs="+", default=[0, 10_000, 100_000, 1_000_000])
    parser.add_argument("--no-mediator", dest="mediator", action="store_false")
    asked = parser.parse_args()
    asked.directory = asked.directory.absolute()
    tell(f"load average at the start: {os.getloadavg()[0]:.1f}")
    for name, compared in (("sqlite", sqlite), ("postgresql", on_postgresql)):
        if name in asked.store:
            with tempfile.TemporaryDirectory(dir=asked.directory) as home:
                compared(Path(home), asked)
    tell(f"load average at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
