"""What there is to run: scripts, and the catalog that finds them by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePath

from mediator.catalog.files import FileState, fingerprint
from mediator.catalog.metadata import Requirements
from mediator.errors import NotFound, NotReady
from mediator.model.policy import Policy
from mediator.settings.explain import nearest

_NAMES_LISTED = 20
"""Names a sentence lists at most."""


class EnvironmentState(StrEnum):
    """Where the environment of a script is on its way."""

    NONE = "none"
    """it needs none: its first line decides what runs it"""
    MISSING = "missing"
    """nobody has built it yet"""
    BUILDING = "building"
    FAILED = "failed"
    """the last build failed; it is tried again"""
    READY = "ready"


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """A file of the scripts directory, and how it is to be run."""

    name: str
    """its exact file name"""
    path: Path
    """absolute, in the scripts directory; a link there is kept, so that its target may change"""
    policy: Policy
    """of a broken script: the settings' part of it alone, when its own cannot be read"""
    problem: str = ""
    """why it cannot run, one sentence or more; empty: it is ready"""
    warning: str = ""
    """what its author should know although it runs; empty: nothing"""
    description: str = ""
    """what it says it is for"""
    dependencies: tuple[str, ...] = ()
    """PEP 508 requirements it states"""
    fallback: bytes | None = None
    """what its policy's fallback answers"""
    requires_python: str = ""
    """the PEP 440 specifier it states"""
    sha256: str = ""
    """of the whole file, in hexadecimal digits; empty when it could not be read"""
    files: tuple[FileState, ...] = ()
    """the file itself, its policy file (also when there is none) and its fallback, as read"""
    requirements: Requirements | None = None
    """what a Python must meet to start it; None: its first line decides"""
    interpreter: tuple[str, ...] = ()
    """what is put before its path to start it; empty: the file itself is executed"""
    python: tuple[str, ...] = ()
    """the Python that its first line names, with its options; empty: it names none"""
    environment: EnvironmentState = EnvironmentState.NONE
    """of the packages it depends on"""
    changing: bool = False
    """a version that was ready is being replaced: deliveries are taken, and wait for the next"""

    @property
    def ready(self) -> bool:
        """Whether it can run."""
        return not self.problem

    @property
    def takes_deliveries(self) -> bool:
        """Whether deliveries are accepted for it: also in the moment of its replacement."""
        return self.ready or self.changing

    @property
    def argv(self) -> tuple[str, ...]:
        """The program to execute and its arguments, before those of a delivery."""
        return *self.interpreter, str(self.path)

    @property
    def command(self) -> tuple[str, ...]:
        """The Python that runs it, a path or a name, with its options; empty: none does."""
        return self.interpreter or self.python

    def unchanged(self) -> bool:
        """Whether its files are still those that were read, and its interpreter is still there.

        A few calls of stat(2) (10 µs), for the moment before an attempt starts.
        """
        interpreter = self.interpreter[:1]
        return all(fingerprint(path) == state for path, state in self.files) and (
            not interpreter or Path(interpreter[0]).exists()
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalog:
    """The scripts directory as it was when it was read."""

    directory: Path
    scripts: Mapping[str, Script]
    """by exact file name, in alphabetical order"""
    others: frozenset[str] = frozenset()
    """files there that are not scripts: data, modules"""
    warnings: tuple[str, ...] = ()
    """what stops no script, and somebody should know: a sentence each"""
    problem: str = ""
    """why the directory cannot be read, one sentence; no script is ready then"""

    def find(self, name: str) -> Script:
        """The script of that exact file name, else the only one of that name without suffix.

        The name is looked up and never becomes part of a path. Raises `NotFound` with a sentence
        that says which scripts there are.
        """
        if name in self.scripts:
            return self.scripts[name]
        found = [script for script in self.scripts.values() if _stem(script.name) == name]
        if len(found) == 1:
            return found[0]
        if found:
            names = " and ".join(script.name for script in found)
            raise NotFound(f"the name {name} is ambiguous here; say which is meant: {names}.")
        raise NotFound(self._unknown(name))

    def ready(self, name: str) -> Script:
        """The script that `find` finds. Raises `NotReady` with the reason when it cannot run."""
        script = self.find(name)
        if script.problem:
            raise NotReady(f"the script {script.name} cannot run: {script.problem}")
        return script

    def _unknown(self, name: str) -> str:
        if name in self.others:
            return (
                f"the file {name} is no script: it is not executable and does not begin with #!; "
                f"give it a first line such as #!/usr/bin/env python3 and run chmod +x on it."
            )
        if self.problem:
            return f"there is no script {name[:80]!r} now: {self.problem}"
        if not self.scripts:
            return f"there is no script {name[:80]!r}; the scripts directory holds none at all."
        known = list(self.scripts)
        hint = nearest(name, [*known, *map(_stem, known)])
        meant = f"did you mean {hint}? There are" if hint else "there are"
        return f"there is no script {name[:80]!r}; {meant}: {_listed(known)}."


def _stem(name: str) -> str:
    return PurePath(name).stem


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMES_LISTED
    return ", ".join(names[:_NAMES_LISTED]) + (f" and {more} more" if more > 0 else "")
