"""How much memory the mediator needs: idle, after many deliveries, and with many of them waiting.

    python -m tests.benchmarks.memory [--count 10000]

Resident memory of the daemon and of the processes it keeps for itself, in MB.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

import psutil

from tests.benchmarks.load import send, tickets
from tests.support.conditions import eventually
from tests.support.mediator import Client, Mediator
from tests.support.scripts import OK


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=10_000)
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as home:
        mediator = Mediator(Path(home))
        mediator.script("note.sh", OK)
        with mediator:
            _tell("idle", mediator)
            send(mediator.url, tickets(count, script="note.sh"))
            _tell(f"{count} taken", mediator)
            asyncio.run(_until_all_ended(mediator.url))
            _tell(f"{count} ended", mediator)


async def _until_all_ended(url: str) -> None:
    async with Client(url) as client:

        async def left() -> int:
            found = 0
            for state in ("pending", "running"):
                page = await client.get(f"/v1/deliveries?state={state}&limit=1")
                found += len(page.json()["items"])
            return found

        await eventually(left, until=lambda found: found == 0, seconds=3600)


def _tell(when: str, mediator: Mediator) -> None:
    daemon = psutil.Process(mediator.pid)
    own = daemon.memory_info().rss / 1e6
    helpers = sum(child.memory_info().rss for child in daemon.children()) / 1e6
    peak = mediator.peak_memory() / 1e6
    sys.stdout.write(f"{when:<14} daemon {own:6.1f}, peak {peak:6.1f}, helpers {helpers:5.1f} MB\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
