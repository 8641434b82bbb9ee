from __future__ import annotations

import errno
from pathlib import Path

import pytest

from mediator.runners.launcher_client import Refused
from mediator.runners.outcome import explain


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.E2BIG, "larger than the system allows"),
        (errno.ENOMEM, "not enough memory"),
        (errno.EAGAIN, "too many processes"),
        (errno.EMFILE, "the mediator has too many open files"),
        (errno.ENFILE, "the system has too many open files"),
        (errno.ETXTBSY, "open for writing"),
        (errno.ELOOP, "loop of links"),
        (errno.ENOTDIR, "not a directory"),
        (errno.EIO, "Input/output error"),
        (0, "unknown error"),
    ],
    ids=lambda value: errno.errorcode.get(value) if isinstance(value, int) else None,
)
def test_every_cause_has_words(number: int, words: str) -> None:
    reason = explain(Refused(errno=number, step="execute"), Path("/scripts/notify.py"))
    assert reason.startswith("not started: ")
    assert words in reason


def test_a_working_directory_is_not_the_scripts_fault() -> None:
    reason = explain(Refused(errno=errno.EACCES, step="enter"), Path("/scripts/notify.py"))
    assert reason == "not started: its working directory is not usable (Permission denied)"


@pytest.mark.parametrize(
    ("content", "number", "words"),
    [
        pytest.param(b"\x7fELF", errno.ENOENT, "library loader", id="no loader"),
        pytest.param(b"#!/bin/x", errno.ENOENT, "bad interpreter: /bin/x named", id="no newline"),
        pytest.param(b"#! \t/bin/x -y\n", errno.ENOENT, "bad interpreter: /bin/x ", id="blanks"),
        pytest.param(b"#!/bin/x\r\n", errno.ENOENT, "carriage return", id="carriage return"),
        pytest.param(b"#!/bin/x -y\r\n", errno.ENOENT, "interpreter: /bin/x ", id="later return"),
        pytest.param(b"#!/\xff\n", errno.ENOENT, "interpreter: /\udcff named", id="not UTF-8"),
        pytest.param(b"#!\n", errno.ENOEXEC, "must name its interpreter", id="nothing named"),
        pytest.param(b"#!/bin/bash\n", errno.EACCES, "noexec", id="noexec"),
    ],
)
def test_the_first_line_is_read(tmp_path: Path, content: bytes, number: int, words: str) -> None:
    program = tmp_path / "script"
    program.write_bytes(content)
    program.chmod(0o755)
    assert words in explain(Refused(errno=number, step="execute"), program)


def test_a_script_that_vanishes_meanwhile_still_has_a_reason(tmp_path: Path) -> None:
    reason = explain(Refused(errno=errno.EACCES, step="execute"), tmp_path / "gone")
    assert reason.endswith("gone: No such file or directory")
