"""Supervisors between attempts: each serves many, and none is trusted to be alive."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from structlog.testing import capture_logs

from mediator.model.delivery import Ended, Outcome
from mediator.runners.launcher_client import LauncherClient
from mediator.runners.process import ProcessRunner
from mediator.runners.supervisor import MOST_ATTEMPTS
from tests.integration.runners.support import Scripts, until


@pytest.fixture
def launcher() -> LauncherClient:
    return LauncherClient()


@pytest.fixture
async def runner(place: Path, launcher: LauncherClient) -> AsyncIterator[ProcessRunner]:
    runner = ProcessRunner(place, launcher=launcher)
    await runner.start()
    yield runner
    await runner.close()


async def once(runner: ProcessRunner, scripts: Scripts) -> int:
    """Run a script; the process id of its supervisor."""
    ended = await run(runner, scripts)
    assert ended.outcome is Outcome.OK
    return int(ended.stdout.kept)


async def run(runner: ProcessRunner, scripts: Scripts) -> Ended:
    return await runner.run(scripts.run(scripts.bash("echo $PPID")), stop=asyncio.Event())


def process_of(launcher: LauncherClient) -> psutil.Process:
    assert launcher.pid is not None
    return psutil.Process(launcher.pid)


async def spare_of(supervisor: int) -> psutil.Process:
    """The process that waits for the next attempt."""
    await until(lambda: psutil.Process(supervisor).children())
    (spare,) = psutil.Process(supervisor).children()
    return spare


async def test_one_attempt_after_another_has_the_same_supervisor(
    runner: ProcessRunner, scripts: Scripts
) -> None:
    assert len({await once(runner, scripts) for _ in range(5)}) == 1


async def test_the_process_of_a_script_was_there_before(
    runner: ProcessRunner, scripts: Scripts
) -> None:
    spare = await spare_of(await once(runner, scripts))
    script = scripts.bash("echo $$")
    ended = await runner.run(scripts.run(script), stop=asyncio.Event())
    assert int(ended.stdout.kept) == spare.pid


async def test_attempts_at_the_same_time_have_supervisors_of_their_own(
    runner: ProcessRunner, launcher: LauncherClient, scripts: Scripts
) -> None:
    script = scripts.bash("echo $PPID; read line")
    go = [asyncio.Event() for _ in range(5)]
    runs = [
        asyncio.create_task(
            runner.run(scripts.run(script, stdin=b"x" * 200_000), stop=stop), name="run"
        )
        for stop in go
    ]
    with capture_logs() as lines:
        ended = await asyncio.gather(*runs)
    assert lines == [], "nobody else holds their pipes"
    supervisors = {int(end.stdout.kept) for end in ended}
    assert len(supervisors) > 1
    await until(lambda: len(process_of(launcher).children()) == 1)


async def test_a_supervisor_does_not_live_for_ever(runner: ProcessRunner, scripts: Scripts) -> None:
    first = await once(runner, scripts)
    program = Path("/bin/true")
    for _ in range(MOST_ATTEMPTS):
        ended = await runner.run(scripts.run(program), stop=asyncio.Event())
        assert ended.outcome is Outcome.OK
    assert await once(runner, scripts) != first
    await until(lambda: not psutil.pid_exists(first))


async def test_an_idle_supervisor_that_is_killed_costs_no_attempt(
    runner: ProcessRunner, scripts: Scripts
) -> None:
    supervisor = await once(runner, scripts)
    os.kill(supervisor, signal.SIGKILL)
    await until(lambda: not psutil.pid_exists(supervisor))
    assert await once(runner, scripts) != supervisor


async def test_a_waiting_process_that_is_killed_costs_no_attempt(
    runner: ProcessRunner, scripts: Scripts
) -> None:
    supervisor = await once(runner, scripts)
    spare = await spare_of(supervisor)
    spare.kill()
    await until(lambda: spare.status() == psutil.STATUS_ZOMBIE)
    assert await once(runner, scripts) == supervisor
    await until(lambda: not psutil.pid_exists(spare.pid))


async def test_when_the_launcher_is_killed_idle_supervisors_end(
    runner: ProcessRunner, launcher: LauncherClient, scripts: Scripts
) -> None:
    supervisor = psutil.Process(await once(runner, scripts))
    spare = await spare_of(supervisor.pid)
    process_of(launcher).kill()
    await until(lambda: not supervisor.is_running() and not spare.is_running())
    assert (await run(runner, scripts)).outcome is Outcome.OK


async def test_what_an_attempt_left_behind_is_no_attempts_of_the_next(
    runner: ProcessRunner, scripts: Scripts
) -> None:
    leaves = scripts.bash("setsid sleep 1000 >/dev/null 2>&1 & echo $PPID")
    first = await runner.run(scripts.run(leaves), stop=asyncio.Event())
    assert first.leftovers == 1
    second = await run(runner, scripts)
    assert second.stdout.kept == first.stdout.kept
    assert (second.leftovers, scripts.living()) == (0, [])
