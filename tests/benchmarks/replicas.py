"""Whether the simulation tells the truth: two real mediators on one PostgreSQL, and the same again.

    python -m tests.benchmarks.replicas [--directory .] [--seconds 60] [--load 0.5 0.8 0.95]
                                        [--mean 0.5] [--slots 2]

For each load (part of the slots that is busy): Poisson arrivals, signed and handed over to either
mediator by turns of chance, for a script that sleeps as long as its argument says, exponentially
distributed. How long each waited from acceptance to its first attempt is read from the store. Then
the simulation gets the same arrivals and the same sleeps, with the service times of
`measured.json`, and what an attempt costs beside its sleep, measured one at a time before; and
Erlang's formula gets the load. Prints the delays of all three in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random

import psycopg

from tests.benchmarks.simulation.cluster import Cluster
from tests.benchmarks.simulation.erlang import mean_wait
from tests.benchmarks.simulation.given import Given, Script, Times
from tests.benchmarks.simulation.report import part
from tests.support import postgresql
from tests.support.conditions import eventually
from tests.support.mediator import Client, Handover, Mediator

SLEEPS = '#!/bin/sh\nexec sleep "$1"\n'
ALONE = 15
MEDIATORS = 2
DELAYS = """
SELECT a.started - d.received FROM deliveries d JOIN attempts a ON a.delivery = d.seq
WHERE a.number = 1 AND d.event = 'ADVANCE'
"""
BESIDE = """
SELECT a.ended - a.started FROM deliveries d JOIN attempts a ON a.delivery = d.seq
WHERE d.event = 'CREATE'
"""
UNFINISHED = "SELECT count(*) FROM deliveries WHERE state IN ('pending', 'running')"
Trace = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Delays:
    """Milliseconds from acceptance to the first attempt."""

    values: list[float]

    def line(self, name: str) -> str:
        ordered = sorted(self.values)
        p50, p95, p99 = (part(ordered, share) for share in (0.5, 0.95, 0.99))
        mean = statistics.mean(ordered)
        return f"  {name:10} mean {mean:7.1f}  p50 {p50:7.1f}  p95 {p95:7.1f}  p99 {p99:7.1f} ms"


def trace(rate: float, mean: float, seconds: float) -> Trace:
    """Arrivals, and how long each sleeps."""
    random = Random(5)  # noqa: S311 - the same at each run
    found: list[tuple[float, float]] = []
    at = random.expovariate(rate)
    while at < seconds:
        found.append((at, random.expovariate(1 / mean)))
        at += random.expovariate(rate)
    return tuple(found)


class Pair:
    """Two mediators that run, and the database they share."""

    def __init__(self, mediators: list[Mediator], url: str) -> None:
        self._mediators = mediators
        self._url = url
        self._number = 0

    def _ask(self, statement: str) -> list[float]:
        with psycopg.connect(self._url) as connection:
            return [float(value) for (value,) in connection.execute(statement.encode())]

    async def _send(self, client: Client, seconds: float, *, event: str, at: float = 0.0) -> None:
        self._number += 1
        body = f"<ticket_info><id>{self._number}</id></ticket_info>".encode()
        await asyncio.sleep(at - time.perf_counter())
        handover = Handover(
            script="sleep.sh", event=event, arguments=(f"{seconds:.4f}",), body=body
        )
        answer = await client.hand_over(handover)
        assert answer.status == 202, answer

    async def _ended(self) -> None:
        async def left() -> float:
            await asyncio.sleep(0.2)  # the question costs the database something too
            return self._ask(UNFINISHED)[0]

        await eventually(left, until=lambda count: count == 0, seconds=600)

    async def beside(self) -> float:
        """Seconds that an attempt takes beside its sleep, when nothing else is done."""
        async with Client(self._mediators[0].url) as client:
            for _ in range(ALONE):
                await self._send(client, 0.01, event="CREATE")
                await self._ended()
        return statistics.median(self._ask(BESIDE)) / 1e6 - 0.01

    async def replay(self, arrivals: Trace) -> Delays:
        """Hand them over when they are to arrive, and wait for the last to end."""
        random = Random(7)  # noqa: S311 - the same at each run
        async with (
            Client(self._mediators[0].url) as one,
            Client(self._mediators[1].url) as other,
            asyncio.TaskGroup() as tasks,
        ):
            start = time.perf_counter() + 1
            for at, seconds in arrivals:
                client = random.choice((one, other))
                tasks.create_task(self._send(client, seconds, event="ADVANCE", at=start + at))
        await self._ended()
        return Delays([micro / 1000 for micro in self._ask(DELAYS)])


def simulated(given: Given, times: Times) -> Delays:
    """The same in the simulation, to the end of the last."""
    cluster = Cluster(given, times).run()
    cluster.engine.run(given.seconds + 600)
    return Delays([waited * 1000 for _, waited in cluster.started])


def compare(
    server: postgresql.Postgresql, home: Path, load: float, asked: argparse.Namespace
) -> None:
    """One load, measured and foretold."""
    slots = MEDIATORS * asked.slots
    with server.database() as url, ExitStack() as stack:
        settings = {"store": {"url": url}, "dispatch": {"slots": asked.slots}}
        pair = [Mediator(home / f"{load}-{n}", settings) for n in range(MEDIATORS)]
        for mediator in pair:
            mediator.script("sleep.sh", SLEEPS)
            stack.enter_context(mediator)
        running = Pair(pair, url)
        beside = asyncio.run(running.beside())
        arrivals = trace(load * slots / (asked.mean + beside), asked.mean, asked.seconds)
        measured = asyncio.run(running.replay(arrivals))
    held = asked.mean + beside
    given = Given(
        scripts=(Script(),),
        rate=load * slots / held,
        mediators=MEDIATORS,
        slots=asked.slots,
        seconds=asked.seconds,
        trace=tuple((at, seconds + beside) for at, seconds in arrivals),
    )
    erlang = mean_wait(given.rate, held, slots) * 1000
    tell(f"load {load}: {len(arrivals)} deliveries, {beside * 1000:.0f} ms beside the sleep")
    tell(measured.line("measured"))
    tell(simulated(given, Times.read()).line("simulated"))
    tell(f"  Erlang C   mean {erlang:7.1f}")


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Compare at each load."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path())
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--load", type=float, nargs="+", default=[0.5, 0.8, 0.95])
    parser.add_argument("--mean", type=float, default=0.5)
    parser.add_argument("--slots", type=int, default=2)
    asked = parser.parse_args()
    directory = asked.directory.absolute()
    tell(f"load average of the machine: {os.getloadavg()[0]:.1f}")
    with (
        tempfile.TemporaryDirectory(dir=directory) as home,
        postgresql.running(postgresql.DURABLE, directory=directory) as server,
    ):
        for load in asked.load:
            compare(server, Path(home), load, asked)


if __name__ == "__main__":
    main()
