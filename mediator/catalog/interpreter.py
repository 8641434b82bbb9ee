"""What starts a script: the kernel by its first line, or a Python that the mediator chooses.

A Python script with metadata is started by an interpreter that meets its requirements. For all
others the first line decides, and the kernel reports an interpreter that is missing as "no such
file" of the script itself, which sends people looking in the wrong place; so it is looked for
before, and said in a sentence. See execve(2) for the form of the line, and env(1) for `-S`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from mediator.catalog.files import InvalidScript
from mediator.catalog.metadata import Requirements

_ELF = b"\x7fELF"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PYTHON = re.compile(r"(?:/\S*/)?(?:python|pypy)(?:\d+(?:\.\d+)?)?$")
_VERSIONED = re.compile(r"(?:python|pypy)(\d+\.\d+)$")
_LONGEST = 255  # BINPRM_BUF_SIZE less one, since Linux 5.1
_NOT_PYTHON = (
    "it states dependencies, and its first line runs no Python: they are not installed for it."
)
_OWN_ENVIRONMENT = (
    "it states dependencies, and its first line names an environment of its own: that must have "
    "them already."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedInterpreter:
    """How one script is started."""

    requirements: Requirements | None = None
    """what a Python must meet to start it; None: its first line decides"""
    python: tuple[str, ...] = ()
    """interpreter and options that its first line names; empty: no Python"""
    problem: str = ""
    warning: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class InterpreterResolver:
    """Finds out how scripts are started, within one scan of the directory."""

    search_path: str | None
    """the PATH that scripts get; None is the one of this process"""
    _known: dict[tuple[object, ...], ResolvedInterpreter] = field(default_factory=dict)

    def resolve(
        self,
        beginning: bytes,
        *,
        packages: tuple[str, ...],
        requires_python: str,
        search_path: str | None,
    ) -> ResolvedInterpreter:
        """How a script that begins so is started, or why it cannot be.

        `search_path` is the PATH of its own policy, and wins where it has one.
        """
        path = self.search_path if search_path is None else search_path
        line = beginning.partition(b"\n")[0] + b"\n"
        asked = (line, path, packages, requires_python)
        if asked not in self._known:
            self._known[asked] = _resolved(beginning, packages, requires_python, search_path=path)
        return self._known[asked]


def _resolved(
    beginning: bytes, packages: tuple[str, ...], requires_python: str, *, search_path: str | None
) -> ResolvedInterpreter:
    try:
        line = python_line(beginning)
        if line is None or not _chosen_here(line, packages, requires_python):
            refuse_no_interpreter(beginning, search_path)
            warning = _why_not(line) if packages else ""
            return ResolvedInterpreter(python=_named(line), warning=warning)
    except InvalidScript as error:
        return ResolvedInterpreter(problem=str(error))
    requirements = Requirements(
        packages=packages,
        requires_python=requires_python,
        interpreter=_found(line, search_path),
        version=version_in(line.program),
        flags=line.flags,
    )
    return ResolvedInterpreter(requirements=requirements, python=_named(line))


def _chosen_here(line: PythonLine, packages: tuple[str, ...], requires_python: str) -> bool:
    """Whether the mediator chooses the Python; without metadata it never does."""
    if in_an_environment(line.program):
        return False
    return not line.program or bool(packages or requires_python)


def _named(line: PythonLine | None) -> tuple[str, ...]:
    return (line.program, *line.flags) if line is not None and line.program else ()


def _why_not(line: PythonLine | None) -> str:
    return _NOT_PYTHON if line is None else _OWN_ENVIRONMENT


def _found(line: PythonLine, search_path: str | None) -> str:
    if Path(line.program).is_absolute():
        there = Path(line.program).is_file() and os.access(line.program, os.X_OK)
        return line.program if there else ""
    return shutil.which(line.program, path=search_path) or ""


def version_in(program: str) -> str:
    """`3.12` for `/usr/bin/python3.12`, nothing for `python3`."""
    found = _VERSIONED.search(program)
    return found[1] if found else ""


def in_an_environment(program: str) -> bool:
    """Whether an interpreter's path is in an environment that somebody has made for it.

    See https://docs.python.org/3/library/site.html for the file.
    """
    path = Path(program)
    return path.is_absolute() and (path.parent.parent / "pyvenv.cfg").is_file()


@dataclass(frozen=True, kw_only=True, slots=True)
class PythonLine:
    """A first line that has Python run the script."""

    program: str
    """a path, or a name that env looks for; empty for `uv run`, which takes any"""
    flags: tuple[str, ...] = ()
    """options before the script's path"""


def python_line(data: bytes) -> PythonLine | None:
    """What a file's first line asks for, if that is Python. Raises `InvalidScript`."""
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


def starts_like_a_program(data: bytes) -> bool:
    """Whether it begins as a script or a binary does, rather than as data."""
    return data.removeprefix(_BYTE_ORDER_MARK).startswith((b"#!", _ELF))


def refuse_no_interpreter(data: bytes, search_path: str | None) -> None:
    """Raise `InvalidScript` when a file that begins with `data` cannot be started.

    `search_path` is the PATH the script will get; None is the mediator's own.
    """
    if data.startswith(_ELF):
        return
    interpreter, argument = _split(_first_line(data))
    if not interpreter.startswith("/"):
        raise InvalidScript(f"its first line names {interpreter!r}, which is not an absolute path.")
    _refuse_missing(interpreter)
    if Path(interpreter).name == "env":
        _refuse_unfindable(argument, search_path)


def _first_line(data: bytes) -> str:
    if data.startswith(_BYTE_ORDER_MARK + b"#!"):
        raise InvalidScript("it begins with a byte order mark; save it as UTF-8 without one.")
    if not data.startswith(b"#!"):
        what = "does not begin with #!" if data else "is empty"
        raise InvalidScript(f"it {what}; make its first line one such as #!/usr/bin/env python3.")
    line = data.partition(b"\n")[0].decode(errors="replace")
    if line.endswith("\r"):
        looked_for = line.removeprefix("#!").split()[-1:] or [""]
        raise InvalidScript(
            f"it has Windows line ends: the kernel would look for {looked_for[0] + chr(13)!r}; "
            "save it with plain line feeds."
        )
    if len(line) > _LONGEST:
        raise InvalidScript(f"its first line is longer than the {_LONGEST} bytes the kernel reads.")
    return line


def _split(line: str) -> tuple[str, str]:
    """Interpreter and the rest, which the kernel passes on as one argument."""
    words = line.removeprefix("#!").strip(" \t").split(maxsplit=1)
    if not words:
        raise InvalidScript("its first line names no interpreter; write one such as #!/bin/bash.")
    return words[0], words[1] if len(words) > 1 else ""


def _refuse_missing(interpreter: str) -> None:
    if not Path(interpreter).is_file():
        raise InvalidScript(
            f"its interpreter {interpreter} does not exist here; install or correct it."
        )
    if not os.access(interpreter, os.X_OK):
        raise InvalidScript(f"its interpreter {interpreter} is not executable.")


def _refuse_unfindable(argument: str, search_path: str | None) -> None:
    program, hint = _env_program(argument)
    if not program:
        raise InvalidScript("its first line gives env no program; write #!/usr/bin/env python3.")
    if shutil.which(program, path=search_path) is None:
        raise InvalidScript(f"env will not find {program!r} on the PATH of scripts{hint}.")


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
        raise InvalidScript("its first line has a quote that does not end.") from None
