"""The process runner alone: whichever of its processes is killed, nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from mediator.errors import SettingsError
from mediator.model.delivery import Ended, Outcome
from mediator.runners.attempt import channels, specify
from mediator.runners.launcher_client import LauncherClient, LauncherFailed, spawn_launcher
from mediator.runners.process import ProcessRunner
from tests.integration.runners.support import Scripts, found, until

OWNER = """
import asyncio, json, sys
from functools import partial
from pathlib import Path
from mediator.runners.port import Run
from mediator.runners.process import ProcessRunner

async def main():
    place, program, marker = sys.argv[1:]
    runner = ProcessRunner(Path(place))
    await runner.start()
    run = Run(name="attempt", program=Path(program), arguments=(), stdin=b"",
              environment={"PATH": "/bin:/usr/bin", "MARKER": marker}, timeout=1000, grace=1000)
    await runner.run(run, stop=asyncio.Event())

asyncio.run(main())
"""
WITH_A_DAEMON = """
trap '' TERM HUP
(setsid bash -c "trap '' TERM HUP; touch ready; while :; do sleep 1000; done" &)
until [ -e ready ]; do :; done
cat "$0" > here
touch "$0.ready"
while :; do sleep 1000; done
"""


@pytest.fixture
def python() -> list[str]:
    """The interpreter of the launcher; a test may put another one there."""
    return [sys.executable]


@pytest.fixture
def launcher(python: list[str]) -> LauncherClient:
    return LauncherClient(lambda control: spawn_launcher(control, python=python[0]))


@pytest.fixture
async def runner(place: Path, launcher: LauncherClient) -> AsyncIterator[ProcessRunner]:
    runner = ProcessRunner(place, launcher=launcher)
    await runner.start()
    yield runner
    await runner.close()


class Running:
    """An attempt whose script has a daemon beside it, and its processes."""

    def __init__(self, runner: ProcessRunner, scripts: Scripts, text: str = WITH_A_DAEMON) -> None:
        self._scripts = scripts
        self.script = scripts.bash(text)
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(runner.run(scripts.run(self.script), stop=self.stop))

    async def ready(self) -> None:
        await until(Path(f"{self.script}.ready").exists)

    @property
    def process(self) -> psutil.Process:
        """The script itself, whose command line ends with its path."""
        processes = map(psutil.Process, self._scripts.living())
        return next(p for p in processes if p.cmdline()[-1:] == [str(self.script)])

    @property
    def supervisor(self) -> psutil.Process:
        parent = self.process.parent()
        assert parent is not None
        return parent


@pytest.fixture
async def running(runner: ProcessRunner, scripts: Scripts) -> Running:
    running = Running(runner, scripts)
    await running.ready()
    return running


@contextlib.contextmanager
def owner(place: Path, script: Path, marker: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that owns a runner and runs an attempt."""
    process = subprocess.Popen([sys.executable, "-c", OWNER, str(place), str(script), marker])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda n: n.name)
async def test_when_the_daemon_is_killed_everything_below_dies(
    place: Path, scripts: Scripts, number: signal.Signals
) -> None:
    script = scripts.bash(WITH_A_DAEMON)
    with owner(place, script, scripts.marker) as daemon:
        await until(Path(f"{script}.ready").exists)
        helpers = psutil.Process(daemon.pid).children(recursive=True)
        assert len(scripts.living()) >= 3  # the script, its daemon, and what these wait for
        daemon.send_signal(number)
        daemon.wait()
        await until(lambda: scripts.living() == [])
        await until(lambda: not any(helper.is_running() for helper in helpers))


async def test_the_next_start_removes_what_a_killed_daemon_left(
    place: Path, scripts: Scripts
) -> None:
    script = scripts.bash(WITH_A_DAEMON)
    with owner(place, script, scripts.marker) as daemon:
        await until(Path(f"{script}.ready").exists)
        daemon.kill()
        daemon.wait()
    await until(lambda: scripts.living() == [])
    left = found(place, "*/*/here")
    assert len(left) == 1
    runner = ProcessRunner(place)
    await runner.start()
    assert not left[0].parent.parent.exists()
    await runner.close()
    assert found(place) == []


async def test_runners_may_share_the_place(running: Running, place: Path, scripts: Scripts) -> None:
    second = ProcessRunner(place)
    await second.start()
    assert len(found(place, "*/*/here")) == 1
    assert (await second.run(scripts.run(Path("/bin/true")), stop=asyncio.Event())).exit_code == 0
    await second.close()
    assert len(found(place, "*/*/here")) == 1
    assert not running.task.done()


async def test_nothing_else_in_the_place_is_touched(tmp_path: Path) -> None:
    (tmp_path / "runner-file").touch()
    (tmp_path / "precious").mkdir()
    runner = ProcessRunner(tmp_path)
    await runner.start()
    await runner.close()
    assert [path.name for path in found(tmp_path)] == ["precious", "runner-file"]


async def test_when_the_supervisor_is_killed_the_attempt_is_lost_and_nothing_is_left(
    running: Running, scripts: Scripts
) -> None:
    running.supervisor.kill()
    ended = await running.task
    assert (ended.outcome, ended.exit_code, ended.signal) == (Outcome.LOST, None, None)
    assert "unknown" in ended.reason
    await until(lambda: scripts.living() == [])


async def test_when_the_launcher_is_killed_attempts_go_on_and_new_ones_start(
    runner: ProcessRunner, launcher: LauncherClient, running: Running, scripts: Scripts
) -> None:
    first = pid_of(launcher)
    os.kill(first, signal.SIGKILL)
    await until(lambda: not psutil.pid_exists(first))
    ended = await runner.run(scripts.run(Path("/bin/true")), stop=asyncio.Event())
    assert ended == Ended(outcome=Outcome.OK, exit_code=0)
    assert pid_of(launcher) != first
    assert not running.task.done()
    running.process.kill()
    ended = await running.task
    assert (ended.outcome, ended.signal) == (Outcome.SIGNAL, signal.SIGKILL)
    assert scripts.living() == []


async def test_when_launcher_and_supervisor_are_killed_what_can_be_found_dies(
    launcher: LauncherClient, running: Running, scripts: Scripts
) -> None:
    supervisor = running.supervisor
    os.kill(pid_of(launcher), signal.SIGKILL)
    supervisor.kill()
    assert (await running.task).outcome is Outcome.LOST
    await until(lambda: scripts.living() == [])


@pytest.mark.parametrize(
    "left",
    [
        pytest.param("exec >/dev/null 2>&1; cd /; sleep 1000", id="by its session"),
        pytest.param("exec setsid bash -c 'exec >/dev/null 2>&1; sleep 1000'", id="by directory"),
        pytest.param("cd /; exec setsid bash -c 'exec 2>&1; sleep 1000'", id="by its output"),
    ],
)
async def test_what_is_left_of_a_lost_attempt_is_found(
    runner: ProcessRunner, launcher: LauncherClient, scripts: Scripts, left: str
) -> None:
    running = Running(runner, scripts, f'({left}) & touch "$0.ready"; while :; do sleep 1000; done')
    await running.ready()
    supervisor = running.supervisor
    os.kill(pid_of(launcher), signal.SIGKILL)
    supervisor.kill()
    assert (await running.task).outcome is Outcome.LOST
    await until(lambda: scripts.living() == [])


STOPS_ITS_SUPERVISOR = """
setsid bash -c 'cd /; exec >/dev/null 2>&1; trap "" TERM; sleep 1000' &
kill -STOP $PPID; touch "$0.ready"; while :; do sleep 1000; done
"""


@pytest.fixture
async def impatient(place: Path, launcher: LauncherClient) -> AsyncIterator[ProcessRunner]:
    """A runner that waits no longer than a second for a supervisor."""
    runner = ProcessRunner(place, launcher=launcher, patience=1)
    await runner.start()
    yield runner
    await runner.close()


async def test_a_script_that_stops_its_supervisor_does_not_escape(
    impatient: ProcessRunner, scripts: Scripts
) -> None:
    run = scripts.run(scripts.bash(STOPS_ITS_SUPERVISOR), timeout=0.5, grace=0.1)
    ended = await impatient.run(run, stop=asyncio.Event())
    assert ended.outcome is Outcome.LOST
    await until(lambda: scripts.living() == [])


async def test_a_script_that_stops_its_supervisor_does_not_escape_cancellation(
    impatient: ProcessRunner, scripts: Scripts
) -> None:
    running = Running(impatient, scripts, STOPS_ITS_SUPERVISOR)
    await running.ready()
    running.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running.task
    await until(lambda: scripts.living() == [])


async def test_a_script_that_ended_before_it_heard_of_the_stop_has_its_own_outcome(
    runner: ProcessRunner, scripts: Scripts
) -> None:
    go = scripts.directory / "go"
    text = f'touch "$0.ready"; until [ -e {go} ]; do :; done'
    running = Running(runner, scripts, text)
    await running.ready()
    supervisor, script = running.supervisor, running.process
    supervisor.suspend()
    go.touch()
    await until(lambda: script.status() == psutil.STATUS_ZOMBIE)
    running.stop.set()
    for _ in range(10):  # turns of the loop, in which SIGTERM is ordered
        await asyncio.sleep(0)
    supervisor.resume()
    assert await running.task == Ended(outcome=Outcome.OK, exit_code=0)


async def test_a_script_that_stops_its_supervisor_does_not_outlive_the_daemon(
    place: Path, scripts: Scripts
) -> None:
    script = scripts.bash(STOPS_ITS_SUPERVISOR)
    with owner(place, script, scripts.marker) as daemon:
        await until(Path(f"{script}.ready").exists)
        helpers = psutil.Process(daemon.pid).children(recursive=True)
    await until(lambda: scripts.living() == [])
    await until(lambda: not any(helper.is_running() for helper in helpers))


async def test_a_script_does_not_outlive_all_that_watch_over_it(
    place: Path, scripts: Scripts
) -> None:
    script = scripts.bash('touch "$0.ready"; while :; do :; done')
    with owner(place, script, scripts.marker) as daemon:
        await until(Path(f"{script}.ready").exists)
        launcher, *below = psutil.Process(daemon.pid).children(recursive=True)
        daemon.send_signal(signal.SIGSTOP)  # it cannot do anything about the next two
        launcher.kill()
        below[0].kill()
        await until(lambda: scripts.living() == [])


async def test_a_launcher_that_was_stopped_is_replaced_and_starts_nothing_later(
    impatient: ProcessRunner, launcher: LauncherClient, scripts: Scripts
) -> None:
    trace = scripts.directory / "trace"
    stopped = pid_of(launcher)
    os.kill(stopped, signal.SIGSTOP)
    run = scripts.run(scripts.bash(f"touch {trace}"), timeout=0.1, grace=0.1)
    ended = await impatient.run(run, stop=asyncio.Event())
    assert ended.outcome is Outcome.LOST
    assert "launcher does not react" in ended.reason
    assert not psutil.pid_exists(stopped)
    ended = await impatient.run(scripts.run(Path("/bin/true")), stop=asyncio.Event())
    assert ended.outcome is Outcome.OK
    assert not trace.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_meant_for_the_daemon_does_not_end_its_helpers(
    launcher: LauncherClient, running: Running, number: signal.Signals
) -> None:
    for helper in (pid_of(launcher), running.supervisor.pid):
        os.kill(helper, number)
    running.process.kill()
    assert (await running.task).outcome is Outcome.SIGNAL
    assert psutil.pid_exists(pid_of(launcher))


async def test_an_order_that_was_given_up_is_not_carried_out(
    runner: ProcessRunner, launcher: LauncherClient, scripts: Scripts, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    process = psutil.Process(pid_of(launcher))
    process.suspend()
    with channels(b"") as ends:
        order = specify(scripts.run(scripts.bash(f"touch {trace}")), tmp_path)
        await launcher.launch(order, ends.theirs)
    ends.status.close()
    ends.stdin.close()
    for pipe in (ends.stdout, ends.stderr):
        os.close(pipe)
    process.resume()
    ended = await runner.run(scripts.run(Path("/bin/true")), stop=asyncio.Event())
    assert ended.outcome is Outcome.OK
    await until(lambda: len(process.children()) == 1)  # the other one has had nothing to do
    assert not trace.exists()


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 1_000_000], ids=str)
async def test_a_script_that_is_started_has_its_whole_ticket(size: int) -> None:
    """Also when the mediator is killed the moment after: it would take a part for the whole."""
    ticket = b"x" * size
    with channels(ticket) as ends:
        _, stdin, _, _ = ends.theirs
        seen = b"".join(iter(partial(os.read, stdin, 65_536), b""))
    ends.status.close()
    for pipe in (ends.stdout, ends.stderr):
        os.close(pipe)
    assert seen == ticket


async def test_no_descriptor_is_closed_twice_when_an_order_fails() -> None:
    mine: list[int] = []
    with contextlib.suppress(LauncherFailed), channels(b"ticket"):
        mine += [os.dup(0) for _ in range(8)]  # one takes the number that the ticket's pipe had
        raise LauncherFailed
    for each in mine:
        os.close(each)


async def test_closing_twice_and_starting_again_work(place: Path, scripts: Scripts) -> None:
    launcher = LauncherClient()
    runner = ProcessRunner(place, launcher=launcher)
    for _ in range(2):
        await runner.start()
        ended = await runner.run(scripts.run(Path("/bin/true")), stop=asyncio.Event())
        assert ended.outcome is Outcome.OK
        pid = pid_of(launcher)
        await runner.close()
        await runner.close()
        assert not psutil.pid_exists(pid)


async def test_a_place_that_cannot_be_made_is_an_error_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="cannot make working directories"):
        await ProcessRunner(tmp_path / "file" / "work").start()


async def test_a_launcher_that_cannot_start_is_an_error_of_the_settings(
    place: Path, launcher: LauncherClient, python: list[str]
) -> None:
    for broken in ("/nonexistent/python", "/bin/false"):
        python[0] = broken
        with pytest.raises(SettingsError, match="scripts cannot be run on this machine"):
            await ProcessRunner(place, launcher=launcher).start()
        assert found(place) == []


async def test_without_a_launcher_an_attempt_is_not_started(
    runner: ProcessRunner, launcher: LauncherClient, python: list[str], scripts: Scripts
) -> None:
    killed = pid_of(launcher)
    python[0] = "/nonexistent/python"
    os.kill(killed, signal.SIGKILL)
    await until(lambda: not psutil.pid_exists(killed))
    ended = await runner.run(scripts.run(Path("/bin/true")), stop=asyncio.Event())
    assert ended.outcome is Outcome.NOT_STARTED
    assert "launcher could not be started" in ended.reason
    python[0] = sys.executable
    ended = await runner.run(scripts.run(Path("/bin/true")), stop=asyncio.Event())
    assert ended.outcome is Outcome.OK


async def test_without_a_place_for_its_working_directory_an_attempt_is_not_started(
    runner: ProcessRunner, scripts: Scripts, place: Path
) -> None:
    for directory in found(place):
        directory.rmdir()
    ended = await runner.run(scripts.run(Path("/bin/true")), stop=asyncio.Event())
    assert ended.outcome is Outcome.NOT_STARTED
    assert "No such file or directory" in ended.reason


async def test_without_descriptors_an_attempt_is_not_started_and_leaks_none(
    runner: ProcessRunner, scripts: Scripts
) -> None:
    before = psutil.Process().num_fds()
    outcomes = []
    for free in range(14):
        with only_descriptors(free):
            ended = await runner.run(scripts.run(Path("/bin/true")), stop=asyncio.Event())
        outcomes.append(ended.outcome)
        if ended.outcome is Outcome.NOT_STARTED:
            assert "Too many open files" in ended.reason
        assert psutil.Process().num_fds() == before
    assert outcomes[0] is Outcome.NOT_STARTED
    assert outcomes[-1] is Outcome.OK
    assert set(outcomes) == {Outcome.NOT_STARTED, Outcome.OK}


@contextlib.contextmanager
def only_descriptors(free: int) -> Iterator[None]:
    """Leave this process `free` descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 20, hard))
    taken = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        for _ in range(free):
            os.close(taken.pop())
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def pid_of(launcher: LauncherClient) -> int:
    assert launcher.pid is not None
    return launcher.pid
