"""Every fault alone, under load: nothing is lost, and nothing runs twice that was not cut."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.faults.clock_faults import JumpClock
from tests.faults.engine import Engine, Report, tell
from tests.faults.fault import Fault
from tests.faults.faults import of_postgresql, of_sqlite
from tests.faults.world import postgresql_world, sqlite_world
from tests.support.postgresql import Postgresql

SEED = int(os.environ.get("MEDIATOR_FAULTS_SEED", "0")) or random.randrange(2**32)  # noqa: S311 - no secret


def named(fault: Fault) -> str:
    return fault.name


def sets_clock(fault: Fault) -> bool:
    return isinstance(fault, JumpClock)


@pytest.mark.parametrize("fault", of_sqlite(), ids=named)
async def test_a_mediator_with_a_file_loses_nothing(fault: Fault, tmp_path: Path) -> None:
    async with sqlite_world(tmp_path, clocked=sets_clock(fault)) as world:
        check(await Engine(world=world, seed=SEED).run([fault]), fault)


@pytest.mark.parametrize("fault", of_postgresql(), ids=named)
async def test_two_mediators_with_postgresql_lose_nothing(
    fault: Fault, tmp_path: Path, postgresql: Postgresql, database: str
) -> None:
    async with postgresql_world(tmp_path, postgresql, database, clocked=sets_clock(fault)) as world:
        check(await Engine(world=world, seed=SEED).run([fault]), fault)


def check(report: Report, fault: Fault) -> None:
    tell(report)
    assert report.complaints == []
    assert report.history.handed
    cut = [one for kept in report.history.kept for one in kept.tried if one.cut]
    assert fault.cuts or not cut, f"attempts were cut by a fault that cuts none: {cut}"
