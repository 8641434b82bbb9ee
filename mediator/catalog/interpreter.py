"""Whether the kernel will find the interpreter that a script's first line names.

The kernel reports a missing interpreter as "no such file" of the script itself, which sends
people looking in the wrong place; so it is asked before, and said in a sentence.
See execve(2) for the form of the line, and env(1) for `-S`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from mediator.catalog.metadata import Unfit

_ELF = b"\x7fELF"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PYTHON = re.compile(r"(?:/\S*/)?(?:python|pypy)(?:\d+(?:\.\d+)?)?$")
_LONGEST = 255  # BINPRM_BUF_SIZE less one, since Linux 5.1


def starts_like_a_program(data: bytes) -> bool:
    """Whether it begins as a script or a binary does, rather than as data."""
    return data.removeprefix(_BYTE_ORDER_MARK).startswith((b"#!", _ELF))


def refuse_no_interpreter(data: bytes, search_path: str | None) -> None:
    """Raise `Unfit` when a file that begins with `data` cannot be started.

    `search_path` is the PATH the script will get; None is the mediator's own.
    """
    if data.startswith(_ELF):
        return
    interpreter, argument = _split(_first_line(data))
    if not interpreter.startswith("/"):
        raise Unfit(f"its first line names {interpreter!r}, which is not an absolute path.")
    _refuse_missing(interpreter)
    if Path(interpreter).name == "env":
        _refuse_unfindable(argument, search_path)


def _first_line(data: bytes) -> str:
    if data.startswith(_BYTE_ORDER_MARK + b"#!"):
        raise Unfit("it begins with a byte order mark; save it as UTF-8 without one.")
    if not data.startswith(b"#!"):
        what = "does not begin with #!" if data else "is empty"
        raise Unfit(f"it {what}; make its first line one such as #!/usr/bin/env python3.")
    line = data.partition(b"\n")[0].decode(errors="replace")
    if line.endswith("\r"):
        looked_for = line.removeprefix("#!").split()[-1:] or [""]
        raise Unfit(
            f"it has Windows line ends: the kernel would look for {looked_for[0] + chr(13)!r}; "
            "save it with plain line feeds."
        )
    if len(line) > _LONGEST:
        raise Unfit(f"its first line is longer than the {_LONGEST} bytes the kernel reads.")
    return line


def _split(line: str) -> tuple[str, str]:
    """Interpreter and the rest, which the kernel passes on as one argument."""
    words = line.removeprefix("#!").strip(" \t").split(maxsplit=1)
    if not words:
        raise Unfit("its first line names no interpreter; write one such as #!/bin/bash.")
    return words[0], words[1] if len(words) > 1 else ""


def _refuse_missing(interpreter: str) -> None:
    if not Path(interpreter).is_file():
        raise Unfit(f"its interpreter {interpreter} does not exist here; install or correct it.")
    if not os.access(interpreter, os.X_OK):
        raise Unfit(f"its interpreter {interpreter} is not executable.")


def _refuse_unfindable(argument: str, search_path: str | None) -> None:
    program, hint = _env_program(argument)
    if not program:
        raise Unfit("its first line gives env no program; write #!/usr/bin/env python3.")
    if shutil.which(program, path=search_path) is None:
        raise Unfit(f"env will not find {program!r} on the PATH of scripts{hint}.")


def _env_program(argument: str) -> tuple[str, str]:
    if not argument.startswith("-"):
        hint = "; to pass options to it write env -S" if " " in argument else "; install it"
        return argument, hint
    words = _env_words(argument)
    # What env takes before the program: options of its own and NAME=VALUE.
    program = next((w for w in words if not w.startswith("-") and "=" not in w), "")
    return program, "; install it"


def _env_words(argument: str) -> list[str]:
    try:
        return shlex.split(argument.removeprefix("-S").removeprefix("-vS"))
    except ValueError:
        raise Unfit("its first line has a quote that does not end.") from None


@dataclass(frozen=True, kw_only=True, slots=True)
class PythonLine:
    """A first line that has Python run the script."""

    program: str
    """a path, or a name that env looks for; empty for `uv run`, which takes any"""
    flags: tuple[str, ...] = ()
    """options before the script's path"""


def python_line(data: bytes) -> PythonLine | None:
    """What a file's first line asks for, if that is Python. Raises `Unfit` as above."""
    if data.startswith(_ELF):
        return None
    interpreter, argument = _split(_first_line(data))
    words = [interpreter, *([argument] if argument else [])]
    if Path(interpreter).name == "env":
        words = _env_words(argument) if argument.startswith("-") else [argument]
    program, *flags = words or [""]
    if Path(program).name == "uv" and "run" in flags:
        return PythonLine(program="")
    return PythonLine(program=program, flags=tuple(flags)) if _PYTHON.match(program) else None
