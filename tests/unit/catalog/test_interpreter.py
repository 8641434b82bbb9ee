"""Whether a script's first line names something the kernel can start."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediator.catalog.files import InvalidScript
from mediator.catalog.interpreter import (
    PythonLine,
    in_an_environment,
    python_line,
    refuse_no_interpreter,
    starts_like_a_program,
    version_in,
)


@pytest.fixture
def search_path(tmp_path: Path) -> str:
    """A PATH with nothing on it but `tool`, and `plain`, which is not executable."""
    for name, mode in (("tool", 0o755), ("plain", 0o644)):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(mode)
    return str(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"#!/bin/sh", id="no line feed"),
        pytest.param(b"#!/bin/sh\n", id="plain"),
        pytest.param(b"#! \t/bin/sh -e\n", id="spaces and an argument"),
        pytest.param(b"#!/usr/bin/env tool\n", id="env"),
        pytest.param(b"#!/usr/bin/env -S tool -u\n", id="env -S"),
        pytest.param(b"#!/usr/bin/env -Stool -u\n", id="env -S without a space"),
        pytest.param(b"#!/usr/bin/env -S -i A=1 tool 'x y'\n", id="env -S with more"),
        pytest.param(b"\x7fELF\x02\x01", id="a binary"),
    ],
)
def test_what_the_kernel_can_start_is_fine(line: bytes, search_path: str) -> None:
    assert starts_like_a_program(line)
    refuse_no_interpreter(line, search_path)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        pytest.param(b"", "it is empty; make its first line one such as #!", id="empty"),
        pytest.param(b"print()\n", "it does not begin with #!; make its first", id="no shebang"),
        pytest.param(b"\n#!/bin/sh\n", "it does not begin with #!", id="one line late"),
        pytest.param(b"#!\n", "names no interpreter; write one such as", id="nothing"),
        pytest.param(b"#!python3\n", "'python3', which is not an absolute path", id="relative"),
        pytest.param(b"#!/no/such\n", "/no/such does not exist here; install", id="missing"),
        pytest.param(b"#!/etc\n", "/etc does not exist here", id="a directory"),
        pytest.param(b"#!/usr/bin/env\n", "gives env no program; write", id="env of nothing"),
        pytest.param(
            b"#!/usr/bin/env none\n", "will not find 'none' on the PATH", id="env missing"
        ),
        pytest.param(b"#!/usr/bin/env plain\n", "will not find 'plain'", id="env not executable"),
        pytest.param(b"#!/usr/bin/env tool -u\n", "'tool -u' on the PATH", id="env with options"),
        pytest.param(b"#!/usr/bin/env -S 'a\n", "a quote that does not end", id="an open quote"),
        pytest.param(b"#!/bin/sh\r\n", r"Windows line ends: .* '/bin/sh\\r'; save", id="CRLF"),
        pytest.param(b"#!/usr/bin/env tool\r\n", r"look for 'tool\\r'", id="CRLF with env"),
        pytest.param(b"\xef\xbb\xbf#!/bin/sh\n", "byte order mark; save it as UTF-8", id="a mark"),
        pytest.param(b"#!/bin/sh " + b"x" * 300, "longer than the 255 bytes", id="too long"),
    ],
)
def test_what_the_kernel_cannot_start_is_refused_in_a_sentence(
    data: bytes, sentence: str, search_path: str
) -> None:
    with pytest.raises(InvalidScript, match=sentence) as caught:
        refuse_no_interpreter(data, search_path)
    assert str(caught.value).endswith(".")


def test_an_interpreter_that_is_not_executable_is_refused(search_path: str) -> None:
    with pytest.raises(InvalidScript, match="/plain is not executable"):
        refuse_no_interpreter(f"#!{search_path}/plain\n".encode(), search_path)


def test_options_for_a_program_behind_env_need_the_letter_s(search_path: str) -> None:
    with pytest.raises(InvalidScript, match="to pass options to it write env -S"):
        refuse_no_interpreter(b"#!/usr/bin/env tool -u\n", search_path)


def test_data_does_not_look_like_a_program() -> None:
    assert not starts_like_a_program(b"id,name\n")
    assert not starts_like_a_program(b"")
    assert starts_like_a_program(b"\xef\xbb\xbf#!/bin/sh\n")


@pytest.mark.parametrize(
    ("line", "program", "flags"),
    [
        pytest.param("#!/usr/bin/python3", "/usr/bin/python3", (), id="a path"),
        pytest.param(
            "#!/usr/bin/python3.12 -u", "/usr/bin/python3.12", ("-u",), id="with an option"
        ),
        pytest.param("#!/usr/bin/env python", "python", (), id="env"),
        pytest.param("#!/usr/bin/env -S python3 -u -B", "python3", ("-u", "-B"), id="env -S"),
        pytest.param("#!/usr/bin/env -S uv run --script", "", (), id="uv"),
        pytest.param("#!/opt/bin/pypy3.10", "/opt/bin/pypy3.10", (), id="PyPy"),
    ],
)
def test_a_first_line_that_runs_python_is_understood(
    line: str, program: str, flags: tuple[str, ...]
) -> None:
    assert python_line(f"{line}\nprint()\n".encode()) == PythonLine(program=program, flags=flags)


@pytest.mark.parametrize(
    "line",
    [
        "#!/bin/sh",
        "#!/usr/bin/env perl",
        "#!/usr/bin/env -S A=1 python3",
        "#!/usr/bin/python-config",
        "#!/usr/bin/env uv",
    ],
)
def test_other_first_lines_are_left_to_the_kernel(line: str) -> None:
    assert python_line(f"{line}\n".encode()) is None


def test_a_binary_has_no_first_line() -> None:
    assert python_line(b"\x7fELF\x02") is None


@pytest.mark.parametrize(
    ("program", "version"),
    [("/usr/bin/python3.12", "3.12"), ("python3", ""), ("pypy3.10", "3.10"), ("", "")],
)
def test_the_version_in_a_name(program: str, version: str) -> None:
    assert version_in(program) == version


def test_a_relative_path_is_in_no_environment() -> None:
    assert not in_an_environment("python3")
