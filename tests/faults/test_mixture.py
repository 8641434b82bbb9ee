"""Faults at random, one after the other, for as long as one likes.

`MEDIATOR_FAULTS_SECONDS=300` makes a long run of it (`tests/run --faults`), `MEDIATOR_FAULTS_SEED`
repeats the choice of faults, moments and tickets, as far as a machine repeats itself.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.engine import Engine, Report, tell
from tests.faults.fault import Fault
from tests.faults.faults import all_of_postgresql, of_sqlite
from tests.faults.world import postgresql_world, sqlite_world
from tests.support.postgresql import Postgresql

SECONDS = float(os.environ.get("MEDIATOR_FAULTS_SECONDS", "6"))
"""Time in which faults begin."""
SEED = int(os.environ.get("MEDIATOR_FAULTS_SEED", "0")) or random.randrange(2**32)  # noqa: S311 - no secret

pytestmark = pytest.mark.timeout(240 + 2 * SECONDS)


def mixture(faults: list[Fault]) -> Iterator[Fault]:
    """All of them in a random order, again and again, until the time is over."""
    chance, end = random.Random(SEED), time.monotonic() + SECONDS  # noqa: S311 - no secret
    while True:
        for fault in chance.sample(faults, len(faults)):
            if time.monotonic() > end:
                return
            yield fault


async def test_a_mediator_with_a_file_loses_nothing_whatever_happens(tmp_path: Path) -> None:
    async with sqlite_world(tmp_path, clocked=True) as world:
        check(await Engine(world=world, seed=SEED).run(mixture(of_sqlite())))


async def test_two_mediators_with_postgresql_lose_nothing_whatever_happens(
    tmp_path: Path, postgresql: Postgresql, database: str
) -> None:
    async with postgresql_world(tmp_path, postgresql, database, clocked=True) as world:
        check(await Engine(world=world, seed=SEED).run(mixture(all_of_postgresql())))


def check(report: Report) -> None:
    tell(report)
    assert report.complaints == []
    assert report.injected
