"""The warm runner in trouble: whatever happens to a parent, no run is lost and none is wrong."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from structlog.testing import capture_logs

from mediator.model.delivery import Ended, Outcome
from mediator.runners.launcher_client import LauncherClient
from mediator.runners.port import Run, Warm
from mediator.runners.prefork import Parents
from mediator.runners.process import ProcessRunner
from tests.integration.runners.support import Scripts, found, until, warm_parents

WAITS = """
import sys, module
open(sys.argv[1] + ".ready", "w").close()
sys.stdin.read()
while not __import__("os").path.exists(sys.argv[1]):
    pass
print(module.version, flush=True)
"""

pytestmark = pytest.mark.usefixtures("runner")


@pytest.fixture
def launcher() -> LauncherClient:
    """Of what is no fork."""
    return LauncherClient()


@pytest.fixture
async def runner(
    place: Path, parents: Parents, launcher: LauncherClient
) -> AsyncIterator[ProcessRunner]:
    runner = ProcessRunner(place, parents=parents, launcher=launcher)
    await runner.start()
    yield runner
    await runner.close()
    assert [parents.count(state) for state in ("starting", "ready", "failed")] == [0, 0, 0]
    assert warm_parents() == []


@pytest.fixture(autouse=True)
def version(scripts: Scripts) -> Callable[[object], None]:
    """Writes the module that scripts import."""

    def version(number: object) -> None:
        module = scripts.directory / f"{uuid.uuid4().hex}.py"
        module.write_text(f"version = {number!r}\n")
        module.rename(scripts.directory / "module.py")

    version(1)
    return version


def run_of(
    scripts: Scripts, text: str, *arguments: str, preload: tuple[str, ...] = ("module",)
) -> Run:
    script = scripts.write(f"#!{sys.executable}\n{text}\n")
    warm = Warm(command=(sys.executable,), script=script, preload=preload)
    return scripts.run(script, *arguments, warm=warm)


Once = Callable[[Run], Coroutine[Any, Any, Ended]]


@pytest.fixture
def once(runner: ProcessRunner) -> Once:
    async def once(run: Run) -> Ended:
        return await runner.run(run, stop=asyncio.Event())

    return once


def alive() -> list[int]:
    """Process ids of the parents."""
    return [parent.pid for parent in warm_parents()]


PARENT = "import os\nprint(open(f'/proc/{os.getppid()}/stat').read().split()[3])"
"""Prints the process id of what the supervisor is a child of: of a parent, or of the launcher."""


async def test_nobody_waits_for_a_parent(
    parents: Parents, launcher: LauncherClient, scripts: Scripts, once: Once
) -> None:
    run = run_of(scripts, PARENT)
    first = await once(run)
    assert await parents.prepare(run) == ""
    second = await once(run)
    (parent,) = alive()
    assert int(first.stdout.kept) == launcher.pid
    assert int(second.stdout.kept) == parent


async def test_scripts_with_the_same_needs_share_a_parent(
    parents: Parents, scripts: Scripts
) -> None:
    for _ in range(3):
        assert await parents.prepare(run_of(scripts, "pass")) == ""
    assert len(alive()) == 1


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda run: replace(run, environment={**run.environment, "A": "1"}), id="env"),
        pytest.param(
            lambda run: replace(run, warm=replace(run.warm, command=(sys.executable, "-O"))),
            id="options",
        ),
        pytest.param(lambda run: replace(run, warm=replace(run.warm, preload=())), id="preload"),
    ],
)
async def test_scripts_with_other_needs_have_another_parent(
    parents: Parents, scripts: Scripts, change: Callable[[Run], Run]
) -> None:
    run = run_of(scripts, "pass")
    assert await parents.prepare(run) == ""
    assert await parents.prepare(change(run)) == ""
    assert len(alive()) == 2


async def test_what_differs_from_delivery_to_delivery_needs_no_other_parent(
    parents: Parents, scripts: Scripts
) -> None:
    run = run_of(scripts, "pass")
    for event in ("CREATE", "ADVANCE"):
        variables = {"SCW_EVENT": event, "MEDIATOR_ATTEMPT": event}
        assert (
            await parents.prepare(replace(run, environment={**run.environment, **variables})) == ""
        )
    assert len(alive()) == 1


async def test_a_killed_parent_costs_no_attempt_and_the_next_run_has_a_new_one(
    parents: Parents, scripts: Scripts, once: Once, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    run = run_of(scripts, WAITS, str(go))
    assert await parents.prepare(run) == ""
    (first,) = alive()
    running = asyncio.create_task(once(run))
    await until(Path(f"{go}.ready").exists)
    os.kill(first, signal.SIGKILL)
    await until(lambda: not psutil.pid_exists(first))
    again = asyncio.create_task(once(run))
    assert await parents.prepare(run) == ""
    (second,) = alive()
    assert second != first
    go.touch()
    for ended in (await running, await again):
        assert ended == Ended(outcome=Outcome.OK, exit_code=0, stdout=ended.stdout)
        assert ended.stdout.kept == b"1\n"


async def test_a_parent_that_dies_again_and_again_is_not_started_at_every_run(
    parents: Parents, scripts: Scripts, once: Once
) -> None:
    run = run_of(scripts, "import module\nprint(module.version)")
    for _ in range(3):
        await parents.prepare(run)
        for pid in alive():
            os.kill(pid, signal.SIGKILL)
            await until(lambda pid=pid: not psutil.pid_exists(pid))  # type: ignore[misc]
        assert (await once(run)).stdout.kept == b"1\n"
    assert alive() == []


async def test_an_attempt_whose_supervisor_is_killed_is_lost(
    parents: Parents, scripts: Scripts, once: Once, tmp_path: Path
) -> None:
    run = run_of(scripts, WAITS, str(tmp_path / "go"))
    assert await parents.prepare(run) == ""
    running = asyncio.create_task(once(run))
    await until(Path(f"{tmp_path}/go.ready").exists)
    (parent,) = warm_parents()
    (supervisor,) = parent.children()
    supervisor.kill()
    assert (await running).outcome is Outcome.LOST
    await until(lambda: scripts.living() == [])


async def test_a_changed_module_replaces_the_parent_and_drops_no_run(
    parents: Parents,
    scripts: Scripts,
    once: Once,
    version: Callable[[object], None],
    tmp_path: Path,
) -> None:
    go = tmp_path / "go"
    run = run_of(scripts, WAITS, str(go))
    assert await parents.prepare(run) == ""
    (before,) = warm_parents()
    running = asyncio.create_task(once(run))
    await until(Path(f"{go}.ready").exists)
    version("two")  # of another size: Python's own cache of bytecode looks at seconds
    new = asyncio.create_task(once(run))
    await parents.prepare(run)
    newer = asyncio.create_task(once(run))
    assert before.is_running()
    go.touch()
    kept = [(await task).stdout.kept for task in (running, new, newer)]
    assert kept == [b"1\n", b"two\n", b"two\n"]
    await until(lambda: not before.is_running())


ODD = {
    "starts a thread": "import threading, time\n"
    "threading.Thread(target=time.sleep, args=[1000], daemon=True).start()",
    "opens a socket": "import socket\nit = socket.socket()",
    "leaves a file open": "it = open(__file__)",
    "starts a process": "import subprocess\nit = subprocess.Popen(['sleep', '1000'])",
    "prints": "print('hello')",
    "reads stdin": "import sys\nsys.stdin.read()",
    "cannot be imported (ZeroDivisionError: division by zero)": "1 / 0",
    "cannot be imported (SystemExit: 3)": "raise SystemExit(3)",
}


@pytest.mark.parametrize(("reason", "text"), ODD.items(), ids=ODD)
async def test_a_module_that_no_forks_can_share_is_named_and_scripts_run_as_processes(
    parents: Parents,
    launcher: LauncherClient,
    scripts: Scripts,
    once: Once,
    *,
    reason: str,
    text: str,
) -> None:
    (scripts.directory / "fine.py").write_text("")
    (scripts.directory / "odd.py").write_text(text)
    run = run_of(scripts, PARENT, preload=("fine", "odd"))
    with capture_logs() as logs:
        for _ in range(2):
            assert reason in await parents.prepare(run)
            assert int((await once(run)).stdout.kept) == launcher.pid
    (warning,) = (entry for entry in logs if entry["log_level"] == "warning")
    assert warning["event"] == "scripts are not kept warm"
    assert warning["reason"].startswith("odd ")


async def test_a_missing_module_is_named_and_the_script_says_itself_what_is_wrong(
    parents: Parents, scripts: Scripts, once: Once
) -> None:
    run = run_of(scripts, "import nonexistent", preload=("nonexistent",))
    assert "nonexistent cannot be imported (ModuleNotFoundError" in await parents.prepare(run)
    ended = await once(run)
    assert ended.exit_code == 1
    assert b"ModuleNotFoundError: No module named 'nonexistent'" in ended.stderr.kept


async def test_a_module_that_kills_its_interpreter_does_not_stop_scripts(
    parents: Parents, scripts: Scripts, once: Once
) -> None:
    (scripts.directory / "odd.py").write_text("import os\nos.kill(os.getpid(), 9)")
    run = run_of(scripts, "print(1)", preload=("odd",))
    assert "ended with code -9" in await parents.prepare(run)
    assert (await once(run)).stdout.kept == b"1\n"


async def test_a_file_that_hides_a_standard_module_is_named(
    parents: Parents, scripts: Scripts, once: Once
) -> None:
    (scripts.directory / "json.py").write_text("dumps = 'mine'")
    run = run_of(scripts, "import json\nprint(json.dumps)", preload=())
    assert "hides the standard module json" in await parents.prepare(run)
    assert (await once(run)).stdout.kept == b"mine\n"


@pytest.mark.parametrize("command", ["/nonexistent/python", "/bin/false", "nonexistent-python"])
async def test_an_interpreter_that_does_not_start_is_no_reason_not_to_run(
    parents: Parents, scripts: Scripts, once: Once, command: str
) -> None:
    run = run_of(scripts, "print(1)")
    assert run.warm is not None
    run = replace(run, warm=replace(run.warm, command=(command,)))
    assert await parents.prepare(run) != ""
    assert (await once(run)).stdout.kept == b"1\n"


async def test_closing_while_a_parent_starts_leaves_nothing(place: Path, scripts: Scripts) -> None:
    here = scripts.directory / "here"
    (scripts.directory / "slow.py").write_text(
        f"import time\nopen({str(here)!r}, 'w').close()\ntime.sleep(1000)"
    )
    place, before = place / "another", psutil.Process().children()
    runner = ProcessRunner(place)
    await runner.start()
    run = run_of(scripts, "print(1)", preload=("slow",))
    assert (await runner.run(run, stop=asyncio.Event())).stdout.kept == b"1\n"
    await until(here.exists)
    await runner.close()
    assert found(place) == []
    assert psutil.Process().children() == before


async def test_no_variable_can_be_read_from_a_parent(parents: Parents, scripts: Scripts) -> None:
    run = run_of(scripts, "pass")
    run = replace(run, environment={**run.environment, "SECRET": "of another script"})
    assert await parents.prepare(run) == ""
    (parent,) = alive()
    assert Path(f"/proc/{parent}/environ").read_bytes().strip(b"\0") == b""


@pytest.mark.parametrize(
    ("mode", "exit_code", "words"),
    [
        pytest.param(0o644, None, "not executable", id="not executable"),
        pytest.param(0o755, 0, "", id="executable"),
    ],
)
async def test_a_script_that_lost_its_right_to_run_is_refused(
    parents: Parents,
    scripts: Scripts,
    once: Once,
    mode: int,
    exit_code: int | None,
    words: str,
) -> None:
    run = run_of(scripts, "pass")
    assert await parents.prepare(run) == ""
    run.program.chmod(mode)
    ended = await once(run)
    assert ended.exit_code == exit_code
    assert words in ended.reason


async def test_without_parents_of_its_own_it_runs_other_programs(
    scripts: Scripts, once: Once
) -> None:
    assert await once(scripts.run(Path("/bin/true"))) == Ended(outcome=Outcome.OK, exit_code=0)
    assert alive() == []
