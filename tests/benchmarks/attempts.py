"""What an attempt costs: the process runner beside what the standard library offers.

    python tests/benchmarks/attempts.py [--runs 300] [--at-once 16] [--rounds 5] [--uvloop]

Runs a program that copies its ticket (`cat`) by `subprocess.run`, by
`asyncio.create_subprocess_exec`, and by the process runner, one after another and several at once,
in alternating rounds. Prints the median time of one attempt in milliseconds and its ratio to
`asyncio.create_subprocess_exec`, which bounds nothing and clears nothing up. Only the ratios say
something about another machine.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uvloop

from mediator.model.delivery import Outcome
from mediator.runners.port import Run
from mediator.runners.process import ProcessRunner

PROGRAM = "/bin/cat"
TICKET = b"<ticket_info><id>1</id></ticket_info>"
Once = Callable[[], Awaitable[None]]


async def by_asyncio() -> None:
    process = await asyncio.create_subprocess_exec(
        PROGRAM, stdin=-1, stdout=-1, stderr=-1, env={}, start_new_session=True
    )
    await process.communicate(TICKET)


def by_subprocess() -> None:
    subprocess.run(
        [PROGRAM], input=TICKET, capture_output=True, env={}, start_new_session=True, check=False
    )


def by_runner(runner: ProcessRunner) -> Once:
    async def once() -> None:
        ended = await runner.run(
            Run(
                name="benchmark",
                program=Path(PROGRAM),
                arguments=(),
                environment={},
                stdin=TICKET,
                timeout=60,
                grace=5,
            ),
            stop=asyncio.Event(),
        )
        if ended.outcome is not Outcome.OK:
            raise RuntimeError(ended)

    return once


def in_threads(pool: ThreadPoolExecutor) -> Once:
    async def once() -> None:
        await asyncio.get_running_loop().run_in_executor(pool, by_subprocess)

    return once


async def measure(once: Once, *, runs: int, at_once: int) -> float:
    """Milliseconds of wall-clock time per attempt."""
    left = iter(range(runs))

    async def worker() -> None:
        for _ in left:
            await once()

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    return (time.perf_counter() - began) / runs * 1000


async def compare(runs: int, at_once: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(at_once) as pool:
        runner = ProcessRunner(Path(directory))
        await runner.start()
        ways = {
            "asyncio.create_subprocess_exec": by_asyncio,
            "subprocess.run (in a thread)": in_threads(pool),
            "process runner": by_runner(runner),
        }
        for together in (1, at_once):
            times: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(rounds):
                for name, once in ways.items():
                    times[name].append(await measure(once, runs=runs, at_once=together))
            report(together, times)
        await runner.close()


def report(at_once: int, times: dict[str, list[float]]) -> None:
    base = statistics.median(times["asyncio.create_subprocess_exec"])
    print(f"{at_once} at once")  # noqa: T201
    for name, figures in times.items():
        median = statistics.median(figures)
        print(f"  {name:32} {median:7.2f} ms  {median / base:5.2f}")  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--uvloop", action="store_true")
    options = parser.parse_args()
    work = compare(options.runs, options.at_once, options.rounds)
    if options.uvloop:
        uvloop.run(work)
    else:
        asyncio.run(work)


if __name__ == "__main__":
    main()
