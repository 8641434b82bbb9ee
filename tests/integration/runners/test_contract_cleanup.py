"""The contract of every runner: nothing that a script started outlives its attempt."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil
import pytest

from mediator.model.delivery import Outcome
from mediator.runners.port import Runner
from tests.integration.runners.support import Scripts, Start, found, until

DAEMON = """
    use POSIX;
    exit 0 if fork; POSIX::setsid(); exit 0 if fork;
    chdir "/"; open(STDIN, "<", "/dev/null");
    open(STDOUT, ">", "/dev/null"); open(STDERR, ">", "/dev/null");
    $SIG{TERM} = "IGNORE";
    open(my $f, ">", $ENV{READY}); close($f);
    sleep 1000 while 1;
"""
WAIT = 'until [ -e "$READY" ]; do :; done'

LEFT_BEHIND = [
    pytest.param(f"(touch $READY; exec sleep 1000) & {WAIT}", 1, id="a child"),
    pytest.param(f"setsid bash -c 'touch $READY; exec sleep 1000' & {WAIT}", 1, id="a session"),
    pytest.param(f"nohup bash -c 'touch $READY; exec sleep 1000' & {WAIT}", 1, id="nohup"),
    pytest.param(f"perl -e '{DAEMON}'; {WAIT}", 1, id="a daemon"),
    pytest.param(
        f"(trap '' TERM HUP; touch $READY; while :; do :; done) & {WAIT}", 1, id="ignores SIGTERM"
    ),
    pytest.param(
        f"bash -c 'kill -STOP $$' & p=$!; until grep -q 'State:.T' /proc/$p/status; do :; done;"
        f" touch $READY; {WAIT}",
        1,
        id="a stopped child",
    ),
    pytest.param(
        "perl -MPOSIX -e 'for (1..4) { if (!fork) { POSIX::setsid(); fork; fork; sleep 1000 } }';"
        f" (setsid bash -c 'touch $READY; exec sleep 1000' &); {WAIT}",
        2,
        id="many sessions",
    ),
    pytest.param(
        "perl -MPOSIX -e 'exit 0 if fork; for (my $n = 0;; $n++) { exit 0 if fork;"
        ' if ($n == 5) { open(my $f, ">", $ENV{READY}) } }' + f"'; {WAIT}",
        1,
        id="a process that flees by forking",
    ),
    pytest.param(
        "perl -MPOSIX -e 'exit 0 if fork; for (my $n = 0;; $n++) { exit 0 if fork; POSIX::setsid();"
        ' if ($n == 5) { open(my $f, ">", $ENV{READY}) } }' + f"'; {WAIT}",
        1,
        id="a process that flees by forking into new sessions",
    ),
]


def environment(scripts: Scripts) -> dict[str, str]:
    ready = str(scripts.directory / "ready")
    return {"PATH": "/usr/bin:/bin", "MARKER": scripts.marker, "READY": ready}


@pytest.mark.parametrize(("text", "least"), LEFT_BEHIND)
async def test_what_a_script_leaves_behind_is_killed_and_counted(
    attempt: Start, scripts: Scripts, text: str, least: int
) -> None:
    ended = await attempt(scripts.bash(text), environment=environment(scripts))
    assert scripts.living() == []
    assert ended.outcome is Outcome.OK
    assert ended.leftovers >= least


@pytest.mark.parametrize(("text", "_least"), LEFT_BEHIND)
async def test_what_a_script_started_dies_with_it_when_it_is_stopped(
    attempt: Start, scripts: Scripts, text: str, _least: int
) -> None:
    stop = asyncio.Event()
    script = scripts.bash(f"{text}; touch $READY.too; trap '' TERM; while :; do :; done")
    running = attempt(script, stop=stop, grace=0.05, environment=environment(scripts))
    await until((scripts.directory / "ready.too").exists)
    stop.set()
    ended = await running
    assert scripts.living() == []
    assert ended.outcome is Outcome.CANCELLED


async def test_what_one_attempt_clears_up_is_its_own(attempt: Start, scripts: Scripts) -> None:
    stop = asyncio.Event()
    ready = scripts.directory / "ready"
    other = attempt(scripts.bash(f"sleep 1000 & touch {ready}; wait"), stop=stop)
    await until(ready.exists)
    assert (await attempt(scripts.bash("sleep 1000 &"))).leftovers == 1
    assert len(scripts.living()) == 2
    assert not other.done()
    stop.set()
    assert (await other).outcome is Outcome.CANCELLED


async def test_orphans_do_not_stay_zombies_while_the_script_runs(
    attempt: Start, scripts: Scripts
) -> None:
    script = scripts.python(
        """
import os, time
for _ in range(20):
    if (pid := os.fork()) == 0:
        os.fork()
        os._exit(0)
    os.waitpid(pid, 0)
def orphans():
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            state, parent = open(f"/proc/{name}/stat").read().rpartition(") ")[2].split()[:2]
        except OSError:
            continue
        if state == "Z" and int(parent) == os.getppid():
            yield name
while list(orphans()):
    time.sleep(0.01)
"""
    )
    ended = await attempt(script)
    assert (ended.outcome, ended.leftovers) == (Outcome.OK, 0)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("touch file; mkdir -p a/b; touch a/b/c", id="files"),
        pytest.param("mkdir -p a/b; touch a/b/c; chmod 0 a/b a .", id="without rights"),
        pytest.param("ln -s / root; ln -s nowhere broken; mkfifo pipe", id="odd files"),
        pytest.param('rm -r "$PWD"', id="already gone"),
        pytest.param("(sleep 1000; touch late) &", id="in use"),
    ],
)
async def test_its_working_directory_is_removed(
    attempt: Start, scripts: Scripts, place: Path, text: str
) -> None:
    assert (await attempt(scripts.bash(text))).outcome is Outcome.OK
    assert found(place, "*/*") == []


async def test_a_link_out_of_the_working_directory_is_not_followed(
    attempt: Start, scripts: Scripts, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    outside.chmod(0o751)
    (outside / "file").touch()
    await attempt(scripts.bash(f"ln -s {outside} link; chmod 500 ."))
    assert (outside / "file").exists()
    assert outside.stat().st_mode & 0o777 == 0o751


async def test_a_thousand_runs_leave_no_process_and_no_descriptor(
    runner: Runner, scripts: Scripts
) -> None:
    program = Path("/bin/true")

    async def hundred() -> None:
        for _ in range(100):
            ended = await runner.run(scripts.run(program, stdin=b"x"), stop=asyncio.Event())
            assert ended.outcome is Outcome.OK

    await hundred()
    this = psutil.Process()
    helpers = 3  # a launcher, a supervisor, and what it has forked for the next attempt
    descriptors = this.num_fds()
    async with asyncio.TaskGroup() as group:
        for _ in range(9):
            group.create_task(hundred())
    await until(lambda: len(this.children(recursive=True)) <= helpers)
    assert this.num_fds() <= descriptors


async def test_many_attempts_run_at_once(attempt: Start, scripts: Scripts) -> None:
    script = scripts.bash('read line; echo "$1 $line"')
    running = [attempt(script, str(n), stdin=b"%d\n" % n) for n in range(100)]
    for n, ended in enumerate(await asyncio.gather(*running)):
        assert ended.stdout.kept == b"%d %d\n" % (n, n)
