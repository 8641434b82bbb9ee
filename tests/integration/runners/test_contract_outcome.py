"""The contract of every runner: how an attempt ends, and what a person reads about it."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mediator.model.delivery import Ended, Outcome
from mediator.model.policy import Limits
from mediator.runners.port import Runner
from tests.integration.runners.support import Scripts, Start, found, until


async def test_exit_code_0_is_ok(attempt: Start, scripts: Scripts) -> None:
    ended = await attempt(scripts.bash("exit 0"))
    assert ended == Ended(outcome=Outcome.OK, exit_code=0)


@pytest.mark.parametrize("code", [1, 75, 127, 128, 137, 255])
async def test_another_exit_code_is_a_failure(attempt: Start, scripts: Scripts, code: int) -> None:
    ended = await attempt(scripts.bash(f"exit {code}"))
    assert ended == Ended(
        outcome=Outcome.FAILED, exit_code=code, reason=f"ended with exit code {code}"
    )


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGTERM, signal.SIGPIPE])
async def test_a_signal_is_named(attempt: Start, scripts: Scripts, number: signal.Signals) -> None:
    ended = await attempt(scripts.bash(f"kill -{number.value} $$"))
    assert (ended.outcome, ended.exit_code, ended.signal) == (Outcome.SIGNAL, None, number)
    assert number.name in ended.reason


@pytest.mark.parametrize(
    ("limits", "text", "number", "words"),
    [
        pytest.param(
            Limits.model_validate({"cpu": "1s"}),
            "while :; do :; done",
            signal.SIGXCPU,
            "processor time",
            id="cpu",
        ),
        pytest.param(
            Limits(file_size=4096),
            "exec head -c 8192 /dev/zero > file",
            signal.SIGXFSZ,
            "larger file",
            id="file size",
        ),
    ],
)
async def test_a_limit_that_ended_a_script_is_named(
    attempt: Start, scripts: Scripts, limits: Limits, text: str, number: int, words: str
) -> None:
    ended = await attempt(scripts.bash(text), limits=limits)
    assert (ended.outcome, ended.signal) == (Outcome.SIGNAL, number)
    assert words in ended.reason


async def test_a_timeout_ends_a_script_by_sigterm(attempt: Start, scripts: Scripts) -> None:
    ended = await attempt(scripts.bash("exec sleep 1000"), timeout=0.2)
    assert ended == Ended(
        outcome=Outcome.TIMEOUT,
        signal=signal.SIGTERM,
        reason="stopped after its timeout of 200ms",
    )


async def test_a_script_may_clear_up_after_sigterm(attempt: Start, scripts: Scripts) -> None:
    stop = asyncio.Event()
    ready = scripts.directory / "ready"
    script = scripts.bash(f"trap 'echo tidy; exit 3' TERM; touch {ready}; while :; do :; done")
    running = attempt(script, stop=stop)
    await until(ready.exists)
    stop.set()
    ended = await running
    assert (ended.outcome, ended.exit_code, ended.signal) == (Outcome.CANCELLED, 3, None)
    assert ended.stdout.kept == b"tidy\n"
    assert ended.reason


async def test_a_script_that_ignores_sigterm_is_killed_after_the_grace(
    attempt: Start, scripts: Scripts
) -> None:
    stop = asyncio.Event()
    ready = scripts.directory / "ready"
    script = scripts.bash(f"trap '' TERM; touch {ready}; while :; do sleep 1000; done")
    running = attempt(script, stop=stop, grace=0.2)
    await until(ready.exists)
    stop.set()
    ended = await running
    assert (ended.outcome, ended.signal) == (Outcome.CANCELLED, signal.SIGKILL)
    assert "SIGKILL since SIGTERM did not end it within 200ms" in ended.reason
    assert scripts.living() == []


async def test_sigterm_goes_to_the_whole_process_group(attempt: Start, scripts: Scripts) -> None:
    stop = asyncio.Event()
    ready = scripts.directory / "ready"
    script = scripts.perl(
        f"""
        my $child = fork;
        if (!$child) {{
            $SIG{{TERM}} = sub {{ print "child told\\n"; exit 0 }};
            open(my $f, ">", "{ready}"); close($f);
            sleep 1 while 1;
        }}
        $SIG{{TERM}} = sub {{ }};
        1 while waitpid($child, 0) < 0;
        """
    )
    running = attempt(script, stop=stop)
    await until(ready.exists)
    stop.set()
    assert (await running).stdout.kept == b"child told\n"


async def test_stop_before_the_start_starts_nothing(attempt: Start, scripts: Scripts) -> None:
    stop = asyncio.Event()
    stop.set()
    trace = scripts.directory / "trace"
    ended = await attempt(scripts.bash(f"touch {trace}"), stop=stop)
    assert ended.outcome is Outcome.CANCELLED
    assert ended.reason
    assert not trace.exists()


@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
async def test_cancelling_the_task_kills_at_once(
    attempt: Start, scripts: Scripts, place: Path, times: int
) -> None:
    ready = scripts.directory / "ready"
    script = scripts.bash(f"trap '' TERM; touch file {ready}; while :; do sleep 1000; done")
    running = attempt(script)
    await until(ready.exists)
    for _ in range(times):
        running.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await running
    await until(lambda: scripts.living() == [])
    await until(lambda: found(place, "*/*") == [])


async def test_a_cancelled_task_ends_when_nothing_is_left(
    attempt: Start, scripts: Scripts, place: Path
) -> None:
    ready = scripts.directory / "ready"
    script = scripts.bash(f"setsid sleep 1000 & touch file {ready}; sleep 1000")
    running = attempt(script)
    await until(ready.exists)
    running.cancel()
    with capture_logs() as logs, pytest.raises(asyncio.CancelledError):
        await running
    assert logs == []  # it was killed in the ordinary way
    assert scripts.living() == []
    assert found(place, "*/*") == []


async def test_closing_the_runner_kills_what_runs(
    runner: Runner, attempt: Start, scripts: Scripts, place: Path
) -> None:
    ready = scripts.directory / "ready"
    running = attempt(scripts.bash(f"trap '' TERM; touch {ready}; while :; do sleep 1000; done"))
    await until(ready.exists)
    await runner.close()
    ended = await running
    assert ended.outcome is Outcome.CANCELLED
    assert "shuts down" in ended.reason
    assert scripts.living() == []
    assert found(place) == []


async def test_a_closed_runner_starts_nothing(
    runner: Runner, attempt: Start, scripts: Scripts
) -> None:
    await runner.close()
    ended = await attempt(scripts.bash("exit 0"))
    assert ended.outcome is Outcome.CANCELLED
    assert "shuts down" in ended.reason
