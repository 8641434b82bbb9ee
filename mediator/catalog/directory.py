"""The scripts directory, read into a catalog, and read again where it has changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from mediator.catalog.fingerprints import MISSING, listing
from mediator.catalog.oddities import odd_files, odd_settings
from mediator.catalog.reading import SIDECAR, Files, Reading, read_script
from mediator.catalog.scripts import Catalog, EnvironmentState, Script
from mediator.catalog.settling import Settling
from mediator.catalog.starting import Start, Starts
from mediator.catalog.unfit import BeingWritten
from mediator.model.policies import RunnerName
from mediator.settings.tree import Settings

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
    if reading.policy.runner is not RunnerName.KUBERNETES:
        return ""
    if reading.policy.kind.interactive:
        return _SLOW
    return _IN_THE_IMAGE if reading.requirements else ""


def _script(reading: Reading, starts: Starts) -> Script:
    elsewhere = reading.policy.runner is RunnerName.KUBERNETES
    start = starts.of(reading) if not (reading.problem or elsewhere) else Start()
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
