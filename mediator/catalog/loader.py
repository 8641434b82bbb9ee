"""The scripts directory, read into a catalog, and read again where it has changed."""

from __future__ import annotations

import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from mediator.catalog.files import MISSING, BeingWritten, Debounce, list_files
from mediator.catalog.interpreter import InterpreterResolver, ResolvedInterpreter
from mediator.catalog.script import Catalog, EnvironmentState, Script
from mediator.catalog.script_file import SIDECAR, ScriptFile, ScriptsListing, read_script
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
        return ScriptLoader(self, Debounce(quiet=0)).scan().catalog


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanResult:
    """What one scan of the directory has found."""

    catalog: Catalog
    """without environments: a script that needs one looks as if it had it"""
    incomplete: bool = False
    """something is being written: scan again after `QUIET`"""
    read: frozenset[str] = frozenset()
    """the files that were read or have gone, because they were not as before"""


class ScriptLoader:
    """Scans the directory as often as it is asked, and reads what has changed since.

    A scan does file I/O: call it in a thread, one at a time.
    """

    def __init__(self, where: ScriptsDirectory, debounce: Debounce | None = None) -> None:
        self._where = where
        self._debounce = debounce or Debounce()
        self._files: dict[str, ScriptFile] = {}
        self._scripts: dict[str, Script] = {}

    def forget(self) -> None:
        """Have everything read again at the next scan."""
        for file in self._files.values():
            file.files = ((file.path, MISSING),)

    def scan(self) -> ScanResult:
        """Look at the directory. Raises `SettingsError` when it cannot be listed."""
        directory = self._where.settings.scripts.directory
        states = list_files(directory)
        listing = ScriptsListing(directory=directory, resolved=directory.resolve(), states=states)
        scan = _Scan(
            listing=listing,
            settings=self._where.settings,
            before=self._files,
            recent=self._debounce.recent(states),
        )
        self._files = scan.files()
        self._scripts = self._composed(scan.changing)
        return ScanResult(
            catalog=self._catalog(listing),
            incomplete=bool(scan.recent or scan.changing),
            read=frozenset(scan.read),
        )

    def _composed(self, changing: Collection[str]) -> dict[str, Script]:
        resolver = InterpreterResolver(search_path=self._where.search_path)
        composed = {}
        for name, file in self._files.items():
            if name in changing and name in self._scripts:
                composed[name] = being_written(self._scripts[name])
            elif file.is_script:
                composed[name] = _script(file, resolver)
        return composed

    def _catalog(self, listing: ScriptsListing) -> Catalog:
        scripts = self._scripts
        others = (name for name in self._files if name not in scripts)
        return Catalog(
            directory=listing.directory,
            scripts=MappingProxyType(scripts),
            others=frozenset(others),
            warnings=(
                *directory_warnings(listing.directory, listing.states, scripts),
                *settings_warnings(self._where.settings, scripts),
            ),
        )


@dataclass(kw_only=True, slots=True)
class _Scan:
    """One scan: which files are known already, which are read anew, and which must wait."""

    listing: ScriptsListing
    settings: Settings
    before: Mapping[str, ScriptFile]
    recent: frozenset[str]
    """files that have changed a moment ago"""
    changing: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)

    def files(self) -> dict[str, ScriptFile]:
        """By name, in alphabetical order."""
        names = sorted({*self.listing.states, *self.before})
        found = ((name, self._file(name)) for name in names if _may_be_a_script(name))
        return {name: file for name, file in found if file is not None}

    def _file(self, name: str) -> ScriptFile | None:
        """None for what has gone, and for what is new and not yet whole."""
        before = self.before.get(name)
        if before is not None and before.holds(self.listing.states):
            return before
        try:
            return self._read(name, before)
        except BeingWritten:
            self.changing.add(name)
            return before

    def _read(self, name: str, before: ScriptFile | None) -> ScriptFile | None:
        members = {name, name + SIDECAR} | {
            path.name for path, _ in (before.files if before else ())
        }
        if members & self.recent:
            raise BeingWritten("it is being written.")
        file = None
        if name in self.listing.states:
            file = read_script(name, self.listing, self.settings)
        self.read.add(name)
        return file


def _may_be_a_script(name: str) -> bool:
    hidden = name.startswith(".") or name.endswith("~")
    return name.isprintable() and not hidden and not name.endswith(SIDECAR)


def being_written(script: Script) -> Script:
    """The same in the time between its last good version and the next; a broken one stays so."""
    if not script.takes_deliveries:
        return script
    return replace(script, problem=_BEING_WRITTEN, changing=True)


def _script(file: ScriptFile, resolver: InterpreterResolver) -> Script:
    start = _interpreter(file, resolver)
    requirements = start.requirements
    needs_packages = requirements is not None and requirements.packages
    return Script(
        name=file.path.name,
        path=file.path,
        policy=file.policy,
        problem=file.problem or start.problem,
        warning=start.warning or _not_warm(file, start) or _in_a_cluster(file),
        fallback=file.fallback,
        description=file.metadata.description,
        dependencies=file.metadata.dependencies,
        requires_python=file.metadata.requires_python,
        sha256=file.sha256,
        files=file.files,
        requirements=requirements,
        python=start.python,
        environment=EnvironmentState.MISSING if needs_packages else EnvironmentState.NONE,
    )


def _interpreter(file: ScriptFile, resolver: InterpreterResolver) -> ResolvedInterpreter:
    """Nothing of a broken script, and of one that runs in a cluster: its image starts it."""
    if file.problem or file.policy.in_pod:
        return ResolvedInterpreter()
    return resolver.resolve(
        file.beginning,
        packages=file.packages,
        requires_python=file.metadata.requires_python,
        search_path=file.policy.env.get("PATH"),
    )


def _not_warm(file: ScriptFile, start: ResolvedInterpreter) -> str:
    warm = file.policy.runner is RunnerName.WARM
    has_python = start.requirements is not None or start.python
    return _NOT_WARM if warm and not (has_python or start.problem) else ""


def _in_a_cluster(file: ScriptFile) -> str:
    """What the author of a script that runs in a cluster should know."""
    if not file.policy.in_pod:
        return ""
    if file.policy.kind.interactive:
        return _SLOW
    return _IN_THE_IMAGE if file.packages else ""


def directory_warnings(
    directory: Path, names: Iterable[str], scripts: Iterable[str]
) -> Iterator[str]:
    """What somebody should know of the directory and of the names in it, a sentence each."""
    if directory.stat().st_mode & stat.S_IWOTH:
        yield f"every user of this machine may write to {directory}; run chmod o-w on it."
    known = set(scripts)
    for name in names:
        if not name.isprintable():
            yield f"the file {name!a} is left out: its name is not printable text."
        elif name.endswith(SIDECAR) and name.removesuffix(SIDECAR) not in known:
            yield _orphan(name, known)


def settings_warnings(settings: Settings, scripts: Mapping[str, Script]) -> Iterator[str]:
    """A sentence for each place of the settings that names no script, or one of a wrong kind."""
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
