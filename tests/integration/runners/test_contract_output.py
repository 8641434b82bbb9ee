"""The contract of every runner: what is kept of what a script prints."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from mediator.model.delivery import Outcome
from mediator.model.policy import Limits
from mediator.runners.port import Runner
from tests.integration.runners.support import DEADLINE, Scripts, Start, until

FIVE_MEGABYTES = bytes(range(256)) * 20480


async def test_stdout_and_stderr_are_kept_apart(attempt: Start, scripts: Scripts) -> None:
    ended = await attempt(scripts.bash("echo out; echo err >&2; printf '\\0more'"))
    assert ended.stdout.kept == b"out\n\0more"
    assert ended.stderr.kept == b"err\n"


async def test_head_and_tail_of_long_output_are_kept(attempt: Start, scripts: Scripts) -> None:
    ended = await attempt(
        scripts.bash("exec cat"), stdin=FIVE_MEGABYTES, limits=Limits(output=1001)
    )
    assert ended.stdout.head == FIVE_MEGABYTES[:501]
    assert ended.stdout.tail == FIVE_MEGABYTES[-500:]
    assert ended.stdout.size == len(FIVE_MEGABYTES)


async def test_five_megabytes_in_and_out_on_both_streams_do_not_lock(
    attempt: Start, scripts: Scripts
) -> None:
    script = scripts.bash("head -c 5242880 /dev/zero >&2; cat; head -c 5242880 /dev/zero >&2")
    ended = await attempt(script, stdin=FIVE_MEGABYTES)
    assert ended.outcome is Outcome.OK
    assert ended.stdout.size == len(FIVE_MEGABYTES)
    assert ended.stderr.size == 2 * 5242880


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("exit 0", id="never reads"),
        pytest.param("exec 0<&-; echo going on; exit 0", id="closes it"),
        pytest.param("head -c 70000 >/dev/null", id="stops in the middle"),
    ],
)
async def test_a_script_need_not_read_its_ticket(
    attempt: Start, scripts: Scripts, text: str
) -> None:
    ended = await attempt(scripts.bash(text), stdin=FIVE_MEGABYTES)
    assert ended.outcome is Outcome.OK


async def test_a_script_that_closed_its_stdin_goes_on(attempt: Start, scripts: Scripts) -> None:
    stop = asyncio.Event()
    ready = scripts.directory / "ready"
    running = attempt(
        scripts.bash(f"exec 0<&-; touch {ready}; exec sleep 1000"), stdin=FIVE_MEGABYTES, stop=stop
    )
    await until(ready.exists)
    assert not running.done()
    stop.set()
    assert (await running).outcome is Outcome.CANCELLED


async def test_output_for_ever_is_read_but_not_kept(attempt: Start, scripts: Scripts) -> None:
    stop = asyncio.Event()
    ready = scripts.directory / "ready"
    script = scripts.bash(f"head -c 3000000 /dev/zero; touch {ready}; exec yes")
    running = attempt(script, stop=stop, limits=Limits(output=1000))
    await until(ready.exists)
    stop.set()
    ended = await running
    assert ended.outcome is Outcome.CANCELLED
    assert ended.stdout.size >= 3_000_000
    assert ended.stdout.head == bytes(500)
    assert len(ended.stdout.tail) == 500


async def test_a_process_that_holds_the_output_open_does_not_delay_the_end(
    attempt: Start, scripts: Scripts
) -> None:
    ended = await attempt(scripts.bash("sleep 1000 & (setsid sleep 1000 &) ; echo said"))
    assert ended.outcome is Outcome.OK
    assert ended.stdout.kept == b"said\n"


async def test_output_before_a_kill_is_kept(attempt: Start, scripts: Scripts) -> None:
    stop = asyncio.Event()
    ready = scripts.directory / "ready"
    running = attempt(scripts.bash(f"echo said; touch {ready}; exec sleep 1000"), stop=stop)
    await until(ready.exists)
    stop.set()
    assert (await running).stdout.kept == b"said\n"


async def test_output_is_heard_while_the_script_runs(
    runner: Runner, scripts: Scripts, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    heard: dict[str, bytes] = {"stdout": b"", "stderr": b""}
    early = asyncio.Event()

    def on_output(stream: str, data: bytes) -> None:
        heard[stream] += data
        if b"first" in heard["stdout"] and b"warned" in heard["stderr"]:
            early.set()

    script = scripts.bash(
        f"echo first; echo warned >&2; until [[ -e {gate} ]]; do sleep 0.01; done; echo last"
    )
    run = replace(scripts.run(script, limits=Limits(output=2)), on_output=on_output)
    running = asyncio.create_task(runner.run(run, stop=asyncio.Event()))
    async with asyncio.timeout(DEADLINE):
        await early.wait()
    assert not running.done()
    gate.touch()
    ended = await running
    assert heard == {"stdout": b"first\nlast\n", "stderr": b"warned\n"}
    assert ended.stdout.size == len(heard["stdout"])
