"""The contract of every runner, kept by Jobs: the same tests as for the other runners.

What is not taken from there differs on purpose (docs/reference/kubernetes.md), and is tested
below or in the other files here: a ticket's size, the streams' kind, the working directory, and
that attempts outlive their mediator.
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from mediator.model.delivery import Ended, Outcome
from mediator.model.policy import Limits
from tests.cluster.runner.support import PodScripts
from tests.integration.runners.support import Start, until
from tests.integration.runners.test_contract_input import (
    test_arguments_arrive_unchanged as test_arguments_arrive_unchanged,
)
from tests.integration.runners.test_contract_input import (
    test_files_it_makes_are_readable_by_others as test_files_it_makes_are_readable_by_others,
)
from tests.integration.runners.test_contract_input import (
    test_no_signal_is_ignored_or_blocked as test_no_signal_is_ignored_or_blocked,
)
from tests.integration.runners.test_contract_outcome import (
    test_a_signal_is_named as test_a_signal_is_named,
)
from tests.integration.runners.test_contract_outcome import (
    test_exit_code_0_is_ok as test_exit_code_0_is_ok,
)
from tests.integration.runners.test_contract_outcome import (
    test_stop_before_the_start_starts_nothing as test_stop_before_the_start_starts_nothing,
)
from tests.integration.runners.test_contract_output import (
    test_a_process_that_holds_the_output_open_does_not_delay_the_end as test_a_process_that_holds_the_output_open_does_not_delay_the_end,  # noqa: E501
)
from tests.integration.runners.test_contract_output import (
    test_output_before_a_kill_is_kept as test_output_before_a_kill_is_kept,
)
from tests.integration.runners.test_contract_output import (
    test_output_is_heard_while_the_script_runs as test_output_is_heard_while_the_script_runs,
)
from tests.integration.runners.test_contract_output import (
    test_stdout_and_stderr_are_kept_apart as test_stdout_and_stderr_are_kept_apart,
)

# The client hands a body over as one text; a megabyte holds the event loop up for milliseconds.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
EXIT_CODES = (3, None)
SIGNALS = (signal.SIGKILL, None)
"""A kubelet before 1.22 sometimes does not tell how what it has ended has ended."""
EVERY_BYTE = bytes(range(256))


@pytest.mark.parametrize(
    "stdin",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\0a\0\0\xff\n\rb\rc\n\n", id="odd bytes"),
        pytest.param(EVERY_BYTE * 4000, id="a megabyte"),
    ],
)
async def test_the_ticket_arrives_byte_for_byte_and_ends(attempt: Start, stdin: bytes) -> None:
    ended = await attempt(Path("/bin/cat"), stdin=stdin, limits=Limits(output=2**24))
    assert ended.outcome is Outcome.OK
    assert ended.stdout.kept == stdin


async def test_line_ends_of_windows_reach_the_script(attempt: Start) -> None:
    """What it prints loses them, as every log of a node with containerd."""
    ended = await attempt(Path("/usr/bin/od"), "-An", "-c", stdin=b"a\r\nb\r\n")
    assert ended.stdout.kept.split() == [b"a", b"\\r", b"\\n", b"b", b"\\r", b"\\n"]


async def test_a_ticket_that_is_too_large_ends_for_good_with_the_reason(attempt: Start) -> None:
    ended = await attempt(Path("/bin/cat"), stdin=EVERY_BYTE * 4096)
    assert (ended.outcome, ended.final) == (Outcome.NOT_STARTED, True)
    assert (
        "a Kubernetes Secret holds at most 1048576; give the script the runner process"
        in ended.reason
    )


async def test_both_outputs_keep_every_byte_and_are_bounded(
    attempt: Start, scripts: PodScripts
) -> None:
    script = scripts.bash("cat; head -c 3000000 /dev/zero >&2; printf end >&2")
    ended = await attempt(script, stdin=EVERY_BYTE * 4000, limits=Limits(output=2**20))
    assert ended.stdout.kept == EVERY_BYTE * 4000
    assert ended.stderr.size == 3_000_003
    assert ended.stderr.tail[-3:] == b"end"


async def test_a_run_has_its_variables_and_few_others(attempt: Start) -> None:
    environment = {"SCW_EVENT": "ADVANCE", "A": "a\nb=c", "dotted.name": "'\"$", "B": "\udcff"}
    ended = await attempt(Path("/usr/bin/env"), "-0", environment=environment)
    found = dict(line.split(b"=", 1) for line in ended.stdout.kept.split(b"\0") if line)
    assert found[b"dotted.name"] == b"'\"$"
    assert (found[b"A"], found[b"B"]) == (b"a\nb=c", b"\xff")
    assert not [name for name in found if name.startswith(b"KUBERNETES")]


@pytest.mark.parametrize("code", [1, 75, 128, 255])
async def test_another_exit_code_is_a_failure(
    attempt: Start, scripts: PodScripts, code: int
) -> None:
    ended = await attempt(scripts.bash(f"exit {code}"))
    assert ended == Ended(
        outcome=Outcome.FAILED, exit_code=code, reason=f"ended with exit code {code}"
    )


async def test_a_timeout_ends_a_script_by_sigterm(attempt: Start, scripts: PodScripts) -> None:
    script = scripts.bash("trap 'echo tidy; exit 3' TERM; while :; do sleep 0.1; done")
    ended = await attempt(script, timeout=1)
    assert (ended.outcome, ended.reason) == (Outcome.TIMEOUT, "stopped after its timeout of 1s")
    assert ended.stdout.kept == b"tidy\n"
    assert ended.exit_code in EXIT_CODES


async def test_a_script_that_ignores_sigterm_is_killed_after_the_grace(
    attempt: Start, scripts: PodScripts
) -> None:
    stop = asyncio.Event()
    ready = scripts.directory / "ready"
    script = scripts.bash(f"trap '' TERM; touch {ready}; while :; do sleep 1000; done")
    running = attempt(script, stop=stop, grace=1)
    await until(ready.exists)
    stop.set()
    ended = await running
    assert ended.outcome is Outcome.CANCELLED
    assert ended.signal in SIGNALS
    assert ended.signal is None or "SIGKILL since SIGTERM did not end it" in ended.reason
    assert scripts.living() == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("sleep 1000 &", id="a child"),
        pytest.param("setsid sleep 1000 &", id="a session"),
        pytest.param("(trap '' TERM HUP; while :; do sleep 1; done) &", id="ignores SIGTERM"),
    ],
)
async def test_what_a_script_leaves_behind_is_killed(
    attempt: Start, scripts: PodScripts, text: str
) -> None:
    ended = await attempt(scripts.bash(f"{text}\necho said"))
    assert (ended.outcome, ended.stdout.kept) == (Outcome.OK, b"said\n")
    await until(lambda: scripts.living() == [])


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        pytest.param(0o644, "is not executable by the pod's user", id="not executable"),
        pytest.param(None, "there is no", id="missing"),
    ],
)
async def test_a_script_that_cannot_be_started_is_an_outcome_with_a_reason(
    attempt: Start, scripts: PodScripts, mode: int | None, words: str
) -> None:
    script = (
        scripts.directory / "missing" if mode is None else scripts.write("#!/bin/sh\n", mode=mode)
    )
    ended = await attempt(script)
    assert ended.outcome is Outcome.NOT_STARTED
    assert ended.reason.startswith("not started: ")
    assert words in ended.reason


async def test_it_has_an_empty_working_directory_and_can_write_only_there(
    attempt: Start, scripts: PodScripts
) -> None:
    script = scripts.bash("pwd; ls -A; touch here /tmp/there; touch /etc/x 2>/dev/null || id -u")
    ended = await attempt(script)
    assert ended.stdout.kept == b"/mediator/work\n65532\n"


async def test_many_attempts_run_at_once(attempt: Start, scripts: PodScripts) -> None:
    script = scripts.bash('read line; echo "$1 $line"')
    running = [attempt(script, str(n), stdin=b"%d\n" % n) for n in range(20)]
    for n, ended in enumerate(await asyncio.gather(*running)):
        assert ended.stdout.kept == b"%d %d\n" % (n, n)
