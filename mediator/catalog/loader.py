"""The scripts directory, read into a catalog, and read again where it has changed."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from mediator.catalog.files import MISSING, Settling, listing
from mediator.catalog.interpreter import PythonLine, python_line, refuse_no_interpreter
from mediator.catalog.metadata import BeingWritten, Need, Unfit, in_an_environment, version_in
from mediator.catalog.script import Catalog, EnvironmentState, Script
from mediator.catalog.script_file import SIDECAR, Files, Reading, read_script
from mediator.model.policy import RunnerName
from mediator.settings.explain import nearest
from mediator.settings.schema import Settings

_BEING_WRITTEN = (
    "a new version of it is being written; deliveries wait until it has not changed for a moment."
)

_SLOW = (
    "it answers while SecureChange waits, and its runner is kubernetes: a Job takes seconds to "
    "start, and all of them are part of the wait."
)
_IN_THE_IMAGE = (
    "it states dependencies, and its runner is kubernetes: they are not installed for it, its "
    "image must have them."
)
_NOT_WARM = "its runner is warm, and its first line runs no Python: each attempt is a new process."


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptsDirectory:
    """Where the scripts are, and what the settings say about them.

    `search_path` is the PATH that scripts get; None is the one of this process.
    """

    settings: Settings
    search_path: str | None = None

    def load(self) -> Catalog:
        """Read the directory as it is. This does file I/O: call it in a thread.

        A broken script is in the catalog with its problem and stops no other. Raises
        `SettingsError` only when the directory itself cannot be listed.
        """
        return Reader(self, Settling(quiet=0)).look().catalog


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What one look at the directory has found."""

    catalog: Catalog
    """without environments: a script that needs one looks as if it had it"""
    unsettled: bool = False
    """something is being written: look again after `QUIET`"""
    read: frozenset[str] = frozenset()
    """the files that were read or have gone, because they were not as before"""


class Reader:
    """Looks at the directory as often as it is asked, and reads what has changed since.

    A look does file I/O: call it in a thread, one at a time.
    """

    def __init__(self, where: ScriptsDirectory, settling: Settling | None = None) -> None:
        self._where = where
        self._settling = settling or Settling()
        self._readings: dict[str, Reading] = {}
        self._scripts: dict[str, Script] = {}

    def forget(self) -> None:
        """Have everything read again at the next look."""
        for reading in self._readings.values():
            reading.files = ((reading.path, MISSING),)

    def look(self) -> Look:
        """Look at the directory. Raises `SettingsError` when it cannot be listed."""
        directory = self._where.settings.scripts.directory
        states = listing(directory)
        files = Files(directory=directory, resolved=directory.resolve(), states=states)
        round_ = _Round(
            files=files,
            settings=self._where.settings,
            before=self._readings,
            unsettled=self._settling.look(states),
        )
        self._readings = round_.readings()
        self._scripts = self._composed(round_.changing)
        return Look(
            catalog=self._catalog(files),
            unsettled=bool(round_.unsettled or round_.changing),
            read=frozenset(round_.read),
        )

    def _composed(self, changing: Collection[str]) -> dict[str, Script]:
        starts = Starts(search_path=self._where.search_path)
        composed = {}
        for name, reading in self._readings.items():
            if name in changing and name in self._scripts:
                composed[name] = being_written(self._scripts[name])
            elif reading.is_script:
                composed[name] = _script(reading, starts)
        return composed

    def _catalog(self, files: Files) -> Catalog:
        scripts = self._scripts
        others = (name for name in self._readings if name not in scripts)
        return Catalog(
            directory=files.directory,
            scripts=MappingProxyType(scripts),
            others=frozenset(others),
            warnings=(
                *odd_files(files.directory, files.states, scripts),
                *odd_settings(self._where.settings, scripts),
            ),
        )


@dataclass(kw_only=True, slots=True)
class _Round:
    """One look: which readings stay, which are made anew, and which must wait."""

    files: Files
    settings: Settings
    before: Mapping[str, Reading]
    unsettled: frozenset[str]
    changing: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)

    def readings(self) -> dict[str, Reading]:
        """By name, in alphabetical order."""
        names = sorted({*self.files.states, *self.before})
        found = ((name, self._reading(name)) for name in names if _may_be_a_script(name))
        return {name: reading for name, reading in found if reading is not None}

    def _reading(self, name: str) -> Reading | None:
        """None for what has gone, and for what is new and not yet whole."""
        before = self.before.get(name)
        if before is not None and before.holds(self.files.states):
            return before
        try:
            return self._read(name, before)
        except BeingWritten:
            self.changing.add(name)
            return before

    def _read(self, name: str, before: Reading | None) -> Reading | None:
        members = {name, name + SIDECAR} | {
            path.name for path, _ in (before.files if before else ())
        }
        if members & self.unsettled:
            raise BeingWritten("it is being written.")
        reading = None
        if name in self.files.states:
            reading = read_script(name, self.files, self.settings)
        self.read.add(name)
        return reading


def _may_be_a_script(name: str) -> bool:
    hidden = name.startswith(".") or name.endswith("~")
    return name.isprintable() and not hidden and not name.endswith(SIDECAR)


def being_written(script: Script) -> Script:
    """The same in the time between its last good version and the next; a broken one stays so."""
    if not script.takes_deliveries:
        return script
    return replace(script, problem=_BEING_WRITTEN, changing=True)


def _elsewhere(reading: Reading) -> str:
    """What the author of a script that runs in a cluster should know."""
    if not reading.policy.in_pod:
        return ""
    if reading.policy.kind.interactive:
        return _SLOW
    return _IN_THE_IMAGE if reading.requirements else ""


def _script(reading: Reading, starts: Starts) -> Script:
    start = Start() if reading.problem or reading.policy.in_pod else starts.of(reading)
    warm = reading.policy.runner is RunnerName.WARM
    no_python = warm and start.need is None and not (start.python or start.problem)
    needs_packages = start.need is not None and start.need.requirements
    return Script(
        name=reading.path.name,
        path=reading.path,
        policy=reading.policy,
        problem=reading.problem or start.problem,
        warning=start.warning or (_NOT_WARM if no_python else "") or _elsewhere(reading),
        fallback=reading.fallback,
        description=reading.stated.description,
        dependencies=reading.stated.dependencies,
        requires_python=reading.stated.requires_python,
        sha256=reading.sha256,
        files=reading.files,
        need=start.need,
        python=start.python,
        environment=EnvironmentState.MISSING if needs_packages else EnvironmentState.NONE,
    )


# What is odd about the scripts directory and the settings, though it stops no script.


def odd_files(directory: Path, names: Iterable[str], scripts: Iterable[str]) -> Iterator[str]:
    """A sentence for each oddity of the directory and of the names in it."""
    if directory.stat().st_mode & stat.S_IWOTH:
        yield f"every user of this machine may write to {directory}; run chmod o-w on it."
    known = set(scripts)
    for name in names:
        if not name.isprintable():
            yield f"the file {name!a} is left out: its name is not printable text."
        elif name.endswith(SIDECAR) and name.removesuffix(SIDECAR) not in known:
            yield _orphan(name, known)


def odd_settings(settings: Settings, scripts: Mapping[str, Script]) -> Iterator[str]:
    """A sentence for each place of the settings that names no script, or an unfit one."""
    known = list(scripts)
    for name in settings.policies:
        yield from _unknown_script("policies", name, known)
    for position, key in enumerate(settings.auth.keys):
        for name in sorted(key.scripts or ()):
            yield from _unknown_script(f"auth.keys[{position}].scripts", name, known)
    for position, row in enumerate(settings.routes):
        for name in row.scripts:
            yield from _unknown_script(f"routes[{position}].scripts", name, known)
            if name in scripts and scripts[name].policy.kind.interactive:
                kind = scripts[name].policy.kind
                yield (
                    f"routes[{position}].scripts names {name}, which is left out: SecureChange "
                    f"waits for the answer of a {kind} script and must call it by its name."
                )


def _orphan(sidecar: str, scripts: Iterable[str]) -> str:
    stem = sidecar.removesuffix(SIDECAR)
    meant = [name for name in sorted(scripts) if Path(name).stem == stem]
    advice = f"; call it {meant[0]}{SIDECAR}" if len(meant) == 1 else ""
    return f"the policy file {sidecar} belongs to no script: there is no {stem}{advice}."


def _unknown_script(key: str, name: str, known: list[str]) -> Iterator[str]:
    if name not in known:
        hint = nearest(name, known)
        advice = f"; did you mean {hint}?" if hint else "."
        yield f"{key} names {name}, and there is no such script{advice}"


# What starts a script: the kernel by its first line, or an interpreter that the mediator names.

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
