"""What the pieces of a transaction cost, for `tests.benchmarks.simulate`.

    python -m tests.benchmarks.service_times [--directory .] [--repeat 150] [--write FILE]

On a PostgreSQL that is started for this (`fsync` on): transactions with 1 and with 25 items, as the
store makes them. Of each: processor time of the writer's thread and of the server's process, which
other work on the machine hardly changes, and the round trips. A flush is how much longer than one
that changes nothing a transaction takes that changes one word. Then a whole mediator: processor
time of its interpreter for a signed hand-over of 2 kB over HTTP, and for an attempt. Prints JSON in
milliseconds; `--write` puts it where the simulation reads it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
from sqlalchemy import Connection, Engine, event, func, select

from mediator.model.delivery import Claim
from mediator.storage import accept, claim, queries, transitions
from mediator.storage.interface import Capacity, Finish
from mediator.storage.postgres import PostgresDatabase, Server
from mediator.storage.postgres_notify import CHANNEL
from mediator.storage.store import touch
from tests.benchmarks.load import send, tickets
from tests.benchmarks.store import WAITS
from tests.benchmarks.store_rates import HOUR, OK, SUCCEEDED, handed
from tests.support import postgresql
from tests.support.conditions import eventually
from tests.support.mediator import Client, Mediator
from tests.support.scripts import OK as SCRIPT

MANY = 25
PENDING = 5000
ENDS = 3
"""round trips of any transaction: BEGIN, the question for its number, COMMIT"""
Work = Callable[[Connection], object]


@dataclass(frozen=True)
class Cost:
    """Of one transaction, or of a piece of it."""

    wall: float
    """median of the milliseconds it took"""
    client: float
    """milliseconds of the thread's processor"""
    server: float
    """milliseconds of the server's processor"""
    trips: float

    def less(self, other: Cost) -> Cost:
        """What it costs beside the other."""
        return Cost(*(a - b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def over(self, count: int) -> Cost:
        """One part of so many."""
        return Cost(*(value / count for value in astuple(self)))

    def told(self) -> dict[str, float]:
        """As the simulation reads it."""
        pieces = {"client": self.client, "server": self.server, "trips": self.trips}
        return {name: round(max(0.0, value), 5) for name, value in pieces.items()}


class Bench:
    """One database, asked by one connection."""

    def __init__(self, url: str, repeat: int) -> None:
        self.database = PostgresDatabase(Server(url=url))
        self.database.open()
        self.repeat = repeat
        self.number = 0
        self.claimed: list[Claim] = []
        pid: list[int] = []
        asked = select(func.pg_backend_pid())
        self.database.write(lambda conn: pid.append(conn.execute(asked).scalar_one()))
        self._times = Path(f"/proc/{pid[0]}/schedstat")
        self._trips = 0
        event.listen(Engine, "before_cursor_execute", self._note)

    def _note(self, *_: object) -> None:
        self._trips += 1

    def _server(self) -> float:
        """Nanoseconds (https://docs.kernel.org/scheduler/sched-stats.html)."""
        return float(self._times.read_text().split()[0])

    def cost(self, work: Work, *, times: int | None = None) -> Cost:
        """Of one such transaction."""
        count = times or self.repeat
        walls: list[float] = []
        self._trips, server, client = 0, self._server(), time.thread_time()
        for _ in range(count):
            began = time.perf_counter()
            self.database.write(lambda conn: _nested(conn, work))
            walls.append(time.perf_counter() - began)
        return Cost(
            wall=statistics.median(walls) * 1000,
            client=(time.thread_time() - client) / count * 1000,
            server=(self._server() - server) / count / 1e6,
            trips=self._trips / count - 1 + ENDS,  # the question for the number was noted
        )

    def accept(self, count: int) -> Work:
        def work(conn: Connection) -> object:
            self.number += count
            return accept.accept(conn, [handed(self.number - n) for n in range(count)])

        return work

    def claim(self, count: int) -> Work:
        room = {"a.py": count} if count else {"none.py": 8}
        capacity = Capacity(owner="me", interactive_slots=4, slots=max(count, 8), room=room)

        def work(conn: Connection) -> object:
            now = datetime.now(UTC)
            self.claimed += claim.claim(conn, capacity, now=now, lease=now + HOUR)
            return True

        return work

    def finish(self, count: int) -> Work:
        def work(conn: Connection) -> object:
            batch = [self._finish(self.claimed.pop()) for _ in range(count)]
            return transitions.finish(conn, batch)

        return work

    def _finish(self, claim: Claim) -> Finish:
        return Finish(
            delivery_id=claim.delivery.id,
            owner="me",
            number=claim.number,
            at=datetime.now(UTC),
            ended=OK,
            verdict=SUCCEEDED,
        )


def _nested(conn: Connection, work: Work) -> None:
    with conn.begin_nested():  # as the store's writer does
        work(conn)


def transactions(url: str, repeat: int) -> tuple[dict[str, Cost], float]:
    """Costs of their pieces, and the milliseconds of a flush."""
    bench = Bench(url, repeat)
    bench.cost(bench.accept(MANY), times=PENDING // MANY)  # warm, and something to claim
    begin = bench.cost(lambda conn: conn.execute(select(1)).scalar())
    flush = bench.cost(touch).wall - begin.wall
    found = {"begin": begin, "count_each": bench.cost(queries.waiting).less(begin).over(PENDING)}
    now = datetime.now(UTC)
    found["next_due"] = bench.cost(lambda conn: claim.next_due(conn, ["a.py"], after=now))
    found["notify"] = bench.cost(lambda conn: conn.execute(_NOTIFY).scalar())
    found |= _linear("accept", begin, bench.cost(bench.accept(1)), bench.cost(bench.accept(MANY)))
    found["claim"] = bench.cost(bench.claim(0)).less(begin)
    found["claim_first"] = bench.cost(bench.claim(1)).less(begin)
    found["claim_each"] = bench.cost(bench.claim(MANY), times=50)
    found["claim_each"] = found["claim_each"].less(begin).less(found["claim_first"]).over(MANY - 1)
    found["claim_first"] = found["claim_first"].less(found["claim"]).less(found["claim_each"])
    one, many = bench.cost(bench.finish(1)), bench.cost(bench.finish(MANY), times=50)
    found |= _linear("finish", begin, one, many)
    bench.database.close()
    return found, flush


_NOTIFY = select(func.pg_notify(CHANNEL, "[]"))


def _linear(name: str, begin: Cost, one: Cost, many: Cost) -> dict[str, Cost]:
    each = many.less(one).over(MANY - 1)
    return {name: one.less(begin).less(each), f"{name}_each": each}


def whole(home: Path, url: str, count: int) -> dict[str, float]:
    """Milliseconds of a mediator's interpreter for a hand-over, and for an attempt."""
    store = {"store": {"url": url}}
    taking = Mediator(home / "taking", {**store, "dispatch": {"slots": 1}})
    taking.script("wait.sh", WAITS)
    with taking:
        send(taking.url, tickets(100, script="wait.sh"))
        intake = _spent(taking, lambda: _send(taking, count, "wait.sh"))
    running = Mediator(home / "running", {**store, "dispatch": {"slots": 8}})
    running.script("ok.sh", SCRIPT)
    with running:
        both = _spent(running, lambda: _send(running, count, "ok.sh", to_the_end=True))
    return {"intake": intake / count, "attempt": (both - intake) / count}


def _spent(mediator: Mediator, act: Callable[[], None]) -> float:
    process = psutil.Process(mediator.pid)
    before = sum(process.cpu_times()[:2])
    act()
    return (sum(process.cpu_times()[:2]) - before) * 1000


def _send(mediator: Mediator, count: int, script: str, *, to_the_end: bool = False) -> None:
    send(mediator.url, tickets(count + 100, script=script)[100:])
    if to_the_end:
        asyncio.run(_until_ended(mediator.url, count, script))


async def _until_ended(url: str, count: int, script: str) -> None:
    async with Client(url) as client:

        async def ended() -> float:
            name = "mediator_deliveries_ended_total"
            await asyncio.sleep(0.2)  # the page costs the mediator something too
            return await client.sample(name, script=script, state="succeeded")

        await eventually(ended, until=lambda found: found >= count, seconds=600)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path())
    parser.add_argument("--repeat", type=int, default=150)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    directory = asked.directory.absolute()
    with (
        tempfile.TemporaryDirectory(dir=directory) as home,
        postgresql.running(postgresql.DURABLE, directory=directory) as server,
    ):
        with server.database() as url:
            pieces, flush = transactions(url, asked.repeat)
        with server.database() as url:
            costs = {name: cost.told() for name, cost in pieces.items()}
            found = {**costs, "flush": flush, **whole(Path(home), url, asked.count)}
    text = json.dumps({"load": load, "milliseconds": found}, indent=2)
    sys.stdout.write(f"{text}\n")
    if asked.write:
        asked.write.write_text(f"{text}\n")


if __name__ == "__main__":
    main()
