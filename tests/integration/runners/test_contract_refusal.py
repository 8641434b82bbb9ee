"""The contract of every runner: a script that cannot be executed is an outcome with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediator.model.delivery import Ended, Outcome
from tests.integration.runners.support import Scripts, Start


def not_started(ended: Ended) -> str:
    """The reason of an attempt that was not started."""
    assert ended.outcome is Outcome.NOT_STARTED
    assert (ended.exit_code, ended.signal, ended.stdout.size) == (None, None, 0)
    assert ended.reason.startswith("not started: ")
    return ended.reason.removeprefix("not started: ")


@pytest.mark.parametrize(
    ("text", "mode", "reason"),
    [
        pytest.param(
            "#!/usr/bin/foo -x\n",
            0o755,
            "bad interpreter: /usr/bin/foo named in its first line does not exist",
            id="interpreter missing",
        ),
        pytest.param(
            "#!/bin/bash\r\nexit 0\r\n",
            0o755,
            "the first line of {script} ends with a carriage return, as Windows editors write it;"
            " convert the file to Unix line ends",
            id="Windows line ends",
        ),
        pytest.param(
            "#!/bin/bash\nexit 0\n",
            0o644,
            "{script} is not executable; set its run bit (chmod +x)",
            id="not executable",
        ),
        pytest.param(
            "echo hello\n",
            0o755,
            "{script} must name its interpreter in the first line, for example #!/usr/bin/env bash",
            id="no interpreter",
        ),
        pytest.param("", 0o755, "{script} is empty", id="empty"),
    ],
)
async def test_the_reason_says_what_is_wrong_with_the_script(
    attempt: Start, scripts: Scripts, text: str, mode: int, reason: str
) -> None:
    script = scripts.write(text, mode=mode)
    assert not_started(await attempt(script)) == reason.format(script=script)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        pytest.param(0o644, "not executable", id="not executable"),
        pytest.param(0o755, "not a program", id="not a program"),
    ],
)
async def test_a_bad_interpreter_is_named(
    attempt: Start, scripts: Scripts, mode: int, words: str
) -> None:
    interpreter = scripts.write("nothing", mode=mode)
    reason = not_started(await attempt(scripts.write(f"#!{interpreter}\n")))
    assert reason == f"bad interpreter: {interpreter} named in its first line is {words}"


async def test_a_missing_script_is_named(attempt: Start, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert not_started(await attempt(missing)) == f"{missing} does not exist"


async def test_a_directory_is_not_a_script(attempt: Start, tmp_path: Path) -> None:
    assert not_started(await attempt(tmp_path)) == f"{tmp_path} is not a file"


async def test_a_script_that_is_still_being_written_is_not_run(
    attempt: Start, scripts: Scripts
) -> None:
    script = scripts.bash("exit 0")
    with script.open("ab"):
        assert "still copying" in not_started(await attempt(script))


async def test_arguments_may_be_too_large_for_the_system(attempt: Start, scripts: Scripts) -> None:
    ended = await attempt(scripts.bash("exit 0"), "x" * 2**20)
    assert "larger than the system allows" in not_started(ended)


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        pytest.param(("a\0b",), {}, "NUL byte", id="NUL in an argument"),
        pytest.param((), {"A": "\0"}, "NUL byte", id="NUL in a variable"),
        pytest.param((), {"A=B": "c"}, "'='", id="equals sign in a name"),
        pytest.param((), {"": "c"}, "name is empty", id="empty name"),
        pytest.param(("\ud800",), {}, "cannot encode", id="half a surrogate pair"),
    ],
)
async def test_what_no_process_can_be_given_is_refused(
    attempt: Start,
    scripts: Scripts,
    arguments: tuple[str, ...],
    environment: dict[str, str],
    words: str,
) -> None:
    ended = await attempt(scripts.bash("exit 0"), *arguments, environment=environment)
    assert words in not_started(ended)


async def test_the_next_attempt_is_not_affected(attempt: Start, scripts: Scripts) -> None:
    not_started(await attempt(scripts.write("")))
    assert (await attempt(scripts.bash("exit 0"))).outcome is Outcome.OK
