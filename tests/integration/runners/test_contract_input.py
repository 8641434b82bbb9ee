"""The contract of every runner: what a script is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediator.model.delivery import Outcome
from mediator.model.policy import Limits
from tests.integration.runners.support import Scripts, Start, found

FIVE_MEGABYTES = bytes(range(256)) * 20480


@pytest.mark.parametrize(
    "stdin",
    [
        pytest.param(b"", id="nothing"),
        pytest.param("<ticket_info>\u00e9</ticket_info>".encode(), id="a ticket"),
        pytest.param(b"\0a\0\0", id="NUL bytes"),
        pytest.param(b"a\r\nb\rc\n\n", id="line ends"),
        pytest.param(bytes(range(256)), id="every byte"),
        pytest.param(FIVE_MEGABYTES, id="five megabytes"),
    ],
)
async def test_the_ticket_arrives_byte_for_byte_and_ends(attempt: Start, stdin: bytes) -> None:
    ended = await attempt(Path("/bin/cat"), stdin=stdin, limits=Limits(output=2**24))
    assert ended.outcome is Outcome.OK
    assert ended.stdout.kept == stdin


async def test_the_standard_streams_are_pipes(attempt: Start, scripts: Scripts) -> None:
    script = scripts.python(
        "import os, stat\nprint([stat.S_ISFIFO(os.fstat(n).st_mode) for n in range(3)])"
    )
    assert (await attempt(script)).stdout.kept == b"[True, True, True]\n"


async def test_the_standard_streams_block(attempt: Start, scripts: Scripts) -> None:
    script = scripts.python("import os\nprint([os.get_blocking(n) for n in range(3)])")
    assert (await attempt(script)).stdout.kept == b"[True, True, True]\n"


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param((), id="none"),
        pytest.param(("",), id="an empty one"),
        pytest.param(("a b", "", " "), id="spaces"),
        pytest.param(("a\nb", "\n"), id="newlines"),
        pytest.param(("'", '"', "\\", "$HOME", "`id`", "*", "--", "-n"), id="shell syntax"),
        pytest.param(("\u00e9\U0001f600",), id="UTF-8"),
        pytest.param(("\udcff\udc80x",), id="not UTF-8"),
        pytest.param(tuple("x" * 100_000 for _ in range(10)), id="a megabyte"),
    ],
)
async def test_arguments_arrive_unchanged(
    attempt: Start, scripts: Scripts, arguments: tuple[str, ...]
) -> None:
    script = scripts.bash('printf \'%s\\0\' "$0" "$@"')
    ended = await attempt(script, *arguments, limits=Limits(output=2**24))
    expected = [str(script), *arguments, ""]
    assert ended.stdout.kept == "\0".join(expected).encode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({}, id="empty"),
        pytest.param({"SCW_EVENT": "ADVANCE", "EMPTY": ""}, id="plain"),
        pytest.param({"A": "a\nb=c", "dotted.name": "'\"$"}, id="odd characters"),
        pytest.param({"A": "\udcff"}, id="not UTF-8"),
        pytest.param({"A": "x" * 100_000}, id="large"),
    ],
)
async def test_the_environment_is_exactly_that_of_the_run(
    attempt: Start, environment: dict[str, str]
) -> None:
    ended = await attempt(Path("/usr/bin/env"), "-0", environment=environment)
    expected = "".join(f"{name}={value}\0" for name, value in environment.items())
    assert ended.stdout.kept == expected.encode("utf-8", "surrogateescape")


async def test_a_script_finds_no_secret_in_its_parents_environment(
    attempt: Start, scripts: Scripts
) -> None:
    ended = await attempt(scripts.bash("exec cat /proc/$PPID/environ"))
    assert ended.outcome is Outcome.OK
    assert b"secret" not in ended.stdout.kept


async def test_no_other_descriptors_are_open(attempt: Start) -> None:
    ended = await attempt(Path("/bin/ls"), "/proc/self/fd")
    assert ended.stdout.kept.split() == [b"0", b"1", b"2", b"3"]  # 3 is the directory itself


async def test_it_leads_a_session_and_a_process_group_without_a_terminal(attempt: Start) -> None:
    ended = await attempt(Path("/bin/cat"), "/proc/self/stat")
    number, _name, _state, _parent, group, session, terminal, *_ = ended.stdout.kept.split()
    assert number == group == session
    assert terminal == b"0"


async def test_no_signal_is_ignored_or_blocked(attempt: Start) -> None:
    ended = await attempt(Path("/bin/cat"), "/proc/self/status")
    status = dict(line.split(b":\t") for line in ended.stdout.kept.splitlines() if b":\t" in line)
    libc = 0b11 << 31  # signals 32 and 33: posix_spawn(3) of glibc leaves them ignored, harmlessly
    for name in (b"SigBlk", b"SigIgn", b"SigCgt"):
        assert int(status[name], 16) & ~libc == 0, name


async def test_files_it_makes_are_readable_by_others(attempt: Start, scripts: Scripts) -> None:
    assert (await attempt(scripts.bash("umask"))).stdout.kept == b"0022\n"


async def test_it_has_an_empty_working_directory_of_its_own(
    attempt: Start, scripts: Scripts, place: Path
) -> None:
    script = scripts.bash("pwd; stat -c %a .; ls -A; touch here")
    seen = [(await attempt(script)).stdout.kept.decode().splitlines() for _ in range(2)]
    assert [lines[1:] for lines in seen] == [["700"], ["700"]]
    assert seen[0][0] != seen[1][0]
    assert all(place in Path(lines[0]).parents for lines in seen)
    assert found(place, "*/*") == []


@pytest.mark.parametrize(
    ("limits", "limit", "bounds"),
    [
        pytest.param(Limits(), "CORE", (0, 0), id="no core dump"),
        pytest.param(Limits.model_validate({"cpu": "1500ms"}), "CPU", (2, 3), id="cpu"),
        pytest.param(Limits(memory=2**30), "AS", (2**30, 2**30), id="memory"),
        pytest.param(Limits(file_size=4096), "FSIZE", (4096, 4096), id="file size"),
        pytest.param(Limits(files=32), "NOFILE", (32, 32), id="files"),
        pytest.param(Limits(processes=64), "NPROC", (64, 64), id="processes"),
    ],
)
async def test_its_limits_are_set(
    attempt: Start, scripts: Scripts, limits: Limits, limit: str, bounds: tuple[int, int]
) -> None:
    script = scripts.python(f"import resource\nprint(resource.getrlimit(resource.RLIMIT_{limit}))")
    assert (await attempt(script, limits=limits)).stdout.kept.decode() == f"{bounds}\n"


async def test_a_limit_above_what_the_system_allows_is_what_the_system_allows(
    attempt: Start, scripts: Scripts
) -> None:
    script = scripts.python("import resource\nprint(resource.getrlimit(resource.RLIMIT_NOFILE)[0])")
    ended = await attempt(script, limits=Limits(files=2**40))
    assert ended.outcome is Outcome.OK
    assert 0 < int(ended.stdout.kept) < 2**40
