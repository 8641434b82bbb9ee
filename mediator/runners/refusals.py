"""Why a script could not be executed, in one sentence for the person who installed it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from mediator.runners.supervision import Refused

_FIRST_LINE = 256  # bytes of the first line that the kernel reads (execve(2))
_BY_NUMBER = {
    errno.E2BIG: "its arguments and environment together are larger than the system allows",
    errno.ENOMEM: "there was not enough memory",
    errno.EAGAIN: "there were too many processes",
    errno.EMFILE: "the mediator has too many open files",
    errno.ENFILE: "the system has too many open files",
    errno.ETXTBSY: "it is open for writing: somebody is still copying it",
    errno.ELOOP: "its path or its interpreter is a loop of links",
    errno.ENOTDIR: "a part of its path is not a directory",
}


def explain(refused: Refused, program: Path) -> str:
    """The sentence for `reason`; looks at the file to find the cause."""
    if refused.step == "enter":
        return f"not started: its working directory is not usable ({_name(refused.errno)})"
    return f"not started: {_cause(refused.errno, program)}"


def _cause(number: int, program: Path) -> str:
    if number in _BY_NUMBER:
        return _BY_NUMBER[number]
    try:
        if number == errno.ENOENT:
            return _not_found(program)
        if number == errno.EACCES:
            return _not_permitted(program)
        if number == errno.ENOEXEC:
            return _no_format(program)
    except OSError as error:
        return f"{program}: {error.strerror}"
    return f"{program}: {_name(number)}"


def _not_found(program: Path) -> str:
    if not program.exists():
        return f"{program} does not exist"
    interpreter = _interpreter(program)
    if interpreter is None:
        return f"a library loader that {program} needs does not exist"
    if interpreter.endswith("\r"):
        return (
            f"the first line of {program} ends with a carriage return, as Windows editors write it;"
            " convert the file to Unix line ends"
        )
    return f"bad interpreter: {interpreter} named in its first line does not exist"


def _not_permitted(program: Path) -> str:
    mode = program.stat().st_mode
    if not stat.S_ISREG(mode):
        return f"{program} is not a file"
    if not os.access(program, os.X_OK):
        return f"{program} is not executable; set its run bit (chmod +x)"
    interpreter = _interpreter(program)
    if interpreter is not None and not os.access(interpreter, os.X_OK):
        return f"bad interpreter: {interpreter} named in its first line is not executable"
    return f"{program} may not be executed; perhaps its file system is mounted noexec"


def _no_format(program: Path) -> str:
    if program.stat().st_size == 0:
        return f"{program} is empty"
    interpreter = _interpreter(program)
    if interpreter is not None:
        return f"bad interpreter: {interpreter} named in its first line is not a program"
    return f"{program} must name its interpreter in the first line, for example #!/usr/bin/env bash"


def _interpreter(program: Path) -> str | None:
    """What the first line names, or None when it names nothing."""
    with program.open("rb") as file:
        line = file.read(_FIRST_LINE).partition(b"\n")[0]
    words = line[2:].strip(b" \t").split() if line.startswith(b"#!") else []
    if not words:
        return None
    ending = b"\r" if line.endswith(words[0] + b"\r") else b""
    return os.fsdecode(words[0] + ending)


def _name(number: int) -> str:
    return os.strerror(number) if number else "unknown error"
