"""What starts a script: the kernel by its first line, or an interpreter that the mediator names.

Asked anew at every look, because interpreters come and go without any script changing; many
scripts share a first line, so each answer is remembered for the length of one look.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from mediator.catalog.needs import Need, in_an_environment, version_in
from mediator.catalog.reading import Reading
from mediator.catalog.shebang import PythonLine, python_line, refuse_no_interpreter
from mediator.catalog.unfit import Unfit

_NOT_PYTHON = (
    "it states dependencies, and its first line runs no Python: they are not installed for it."
)
_OWN_ENVIRONMENT = (
    "it states dependencies, and its first line names an environment of its own: that must have "
    "them already."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """How one script is started."""

    need: Need | None = None
    """None: its first line decides"""
    python: tuple[str, ...] = ()
    """interpreter and options that its first line names; empty: no Python"""
    problem: str = ""
    warning: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Starts:
    """Finds out how scripts are started, within one look at the directory."""

    search_path: str | None
    """the PATH that scripts get; None is the one of this process"""
    _known: dict[tuple[object, ...], Start] = field(default_factory=dict)

    def of(self, reading: Reading) -> Start:
        """How the script is started, or why it cannot be."""
        path = reading.policy.env.get("PATH", self.search_path)
        line = reading.beginning.partition(b"\n")[0] + b"\n"
        asked = (line, path, reading.requirements, reading.stated.requires_python)
        if asked not in self._known:
            self._known[asked] = _found(reading, path)
        return self._known[asked]


def _found(reading: Reading, search_path: str | None) -> Start:
    try:
        line = python_line(reading.beginning)
        need = _need(line, reading, search_path)
        if need is None:
            refuse_no_interpreter(reading.beginning, search_path)
    except Unfit as error:
        return Start(problem=str(error))
    warned = bool(reading.requirements) and need is None
    python = (line.program, *line.flags) if line is not None and line.program else ()
    return Start(need=need, python=python, warning=_why_not(line) if warned else "")


def _why_not(line: PythonLine | None) -> str:
    return _NOT_PYTHON if line is None else _OWN_ENVIRONMENT


def _need(line: PythonLine | None, reading: Reading, search_path: str | None) -> Need | None:
    """None where the first line is to decide, as it always does without metadata."""
    if line is None or in_an_environment(line.program):
        return None
    requires = reading.stated.requires_python
    if line.program and not reading.requirements and not requires:
        return None
    return Need(
        requirements=reading.requirements,
        requires_python=requires,
        interpreter=_interpreter(line, search_path),
        version=version_in(line.program),
        flags=line.flags,
    )


def _interpreter(line: PythonLine, search_path: str | None) -> str:
    if Path(line.program).is_absolute():
        there = Path(line.program).is_file() and os.access(line.program, os.X_OK)
        return line.program if there else ""
    return shutil.which(line.program, path=search_path) or ""
