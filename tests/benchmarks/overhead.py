"""What the way through shim and mediator adds to running a script.

    python -m tests.benchmarks.overhead [--runs 200]

Runs a script of bash and one of Python directly, then through a signed HTTP call to a mediator,
then through the real shim, in turn, each waiting for the script's answer (the event TEST). Prints
medians in milliseconds and what each way adds to running the script directly.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.support.mediator import Client, Handover, Mediator

SCRIPTS = {
    "bash": "#!/bin/bash\nread -r -d '' ticket\nprintf '%s' \"${#ticket}\"\n",
    "python": "#!/usr/bin/env python3\nimport sys\nprint(len(sys.stdin.buffer.read()))\n",
}
TICKET = b"<ticket_info><id>17</id><comment>" + b"x" * 2000 + b"</comment></ticket_info>"
Way = Callable[[], Awaitable[None]]


async def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=200)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as home:
        mediator = Mediator(Path(home))
        for name, text in SCRIPTS.items():
            mediator.script(f"{name}.script", text)
        with mediator:
            async with Client(mediator.url) as client:
                for name in SCRIPTS:
                    medians = await _medians(_ways(mediator, client, f"{name}.script"), runs)
                    sys.stdout.write(_table(name, medians))


def _ways(mediator: Mediator, client: Client, script: str) -> dict[str, Way]:
    async def direct() -> None:
        path = str(mediator.scripts / script)
        await asyncio.to_thread(
            subprocess.run, [path], input=TICKET, check=False, capture_output=True
        )

    async def http() -> None:
        answer = await client.hand_over(Handover(script=script, event="TEST", body=TICKET))
        assert answer.status == 200, answer

    async def shim() -> None:
        ended = await asyncio.to_thread(mediator.shim, script, stdin=TICKET, event="TEST")
        assert ended.returncode in {0, 1}, ended

    return {"directly": direct, "by HTTP": http, "by the shim": shim}


async def _medians(ways: dict[str, Way], runs: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, way in ways.items():
            start = time.perf_counter()
            await way()
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def _table(script: str, medians: dict[str, float]) -> str:
    direct = medians["directly"]
    lines = [
        f"{script:<7} {way:<12} {value:6.1f} ms, {value - direct:+6.1f} ms"
        for way, value in medians.items()
    ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    asyncio.run(main())
