"""The scripts directory, read into a catalog."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from mediator.catalog.files import (
    FileHead,
    read_head,
    refuse_not_executable,
    refuse_writable_by_all,
)
from mediator.catalog.inline import find_block
from mediator.catalog.scripts import Catalog, Script, Unfit
from mediator.catalog.shebang import refuse_no_interpreter, starts_like_a_program
from mediator.catalog.stated import Stated, read_block, read_sidecar
from mediator.errors import SettingsError
from mediator.model.answers import problem_of_answer
from mediator.model.policies import Policy, StatedPolicy, resolve
from mediator.settings.explaining import nearest
from mediator.settings.tree import Settings

_SIDECAR = ".toml"
_DATA = frozenset({".cfg", ".conf", ".csv", ".ini", ".json", ".md", ".rst", ".txt", ".xml"}) | {
    ".yaml",
    ".yml",
}
"""Suffixes of what is no script, even where a mount makes every file executable."""
_NOT_INSTALLED = (
    "it states dependencies, which the mediator does not install yet: "
    "its interpreter must have them already."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptsDirectory:
    """Where the scripts are, and what the settings say about them.

    `search_path` is the PATH that scripts get; None is the one of this process.
    """

    settings: Settings
    search_path: str | None = None

    def load(self) -> Catalog:
        """Read the directory. This does file I/O: call it in a thread.

        A broken script is in the catalog with its problem and stops no other. Raises
        `SettingsError` only when the directory itself cannot be listed.
        """
        directory = self.settings.scripts.directory
        names = _list(directory)
        files = _Files(directory=directory.resolve(), names=frozenset(names))
        shown = [name for name in names if _may_be_a_script(name)]
        read = {name: self._read(directory / name, files) for name in shown}
        scripts = {name: script for name, script in read.items() if script is not None}
        return Catalog(
            directory=directory,
            scripts=MappingProxyType(scripts),
            others=frozenset(name for name in shown if name not in scripts),
            warnings=(*_odd_files(directory, names, scripts), *self._odd_settings(scripts)),
        )

    def _read(self, path: Path, files: _Files) -> Script | None:
        """The script, or None for a file that is none."""
        stated, problem, fallback = Stated(), "", None
        try:
            head = read_head(path, files.directory)
            if not _is_script(path, head, files):
                return None
            refuse_writable_by_all(head)
            stated = _stated(path, head, files)
            refuse_not_executable(path, head)
            policy = self._policy(path.name, stated.policy)
            refuse_no_interpreter(head.data, policy.env.get("PATH", self.search_path))
            fallback = _fallback(path, policy, files)
        except Unfit as error:
            problem = str(error)
        return Script(
            name=path.name,
            path=path,
            policy=self._policy(path.name, stated.policy),
            problem=problem,
            fallback=fallback,
            warning=_NOT_INSTALLED if stated.dependencies else "",
            description=stated.description,
            dependencies=stated.dependencies,
            requires_python=stated.requires_python,
        )

    def _policy(self, name: str, stated: StatedPolicy) -> Policy:
        overriding = self.settings.policies.get(name, StatedPolicy())
        return resolve(self.settings.policy_defaults, stated, overriding)

    def _odd_settings(self, scripts: Mapping[str, Script]) -> Iterator[str]:
        known = list(scripts)
        for name in self.settings.policies:
            yield from _unknown_script("policies", name, known)
        for position, key in enumerate(self.settings.auth.keys):
            for name in sorted(key.scripts or ()):
                yield from _unknown_script(f"auth.keys[{position}].scripts", name, known)
        for position, row in enumerate(self.settings.routes):
            for name in row.scripts:
                yield from _unknown_script(f"routes[{position}].scripts", name, known)
                if name in scripts and scripts[name].policy.kind.interactive:
                    kind = scripts[name].policy.kind
                    yield (
                        f"routes[{position}].scripts names {name}, which is left out: SecureChange "
                        f"waits for the answer of a {kind} script and must call it by its name."
                    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Files:
    directory: Path
    """the scripts directory without links"""
    names: frozenset[str]

    def sidecar(self, name: str) -> str | None:
        """The name of the file beside a script that states its policy, if there is one."""
        sidecar = name + _SIDECAR
        return sidecar if sidecar in self.names else None


def _list(directory: Path) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return sorted(entry.name for entry in entries if not Path(entry).is_dir())
    except FileNotFoundError as error:
        what = "does not exist; make it, or name another"
        raise SettingsError(f"scripts.directory: {directory} {what}.") from error
    except OSError as error:
        what = f"cannot be listed ({error.strerror})"
        raise SettingsError(f"scripts.directory: {directory} {what}.") from error


def _may_be_a_script(name: str) -> bool:
    hidden = name.startswith(".") or name.endswith("~")
    return name.isprintable() and not hidden and not name.endswith(_SIDECAR)


def _is_script(path: Path, head: FileHead, files: _Files) -> bool:
    if starts_like_a_program(head.data) or files.sidecar(path.name):
        return True
    return head.runnable and path.suffix.lower() not in _DATA


def _stated(path: Path, head: FileHead, files: _Files) -> Stated:
    block = find_block(head.data)
    inline = Stated() if block is None else read_block(block, path.name)
    sidecar = files.sidecar(path.name)
    if sidecar is None:
        return inline
    if inline.states_policy:
        where = f"in [tool.mediator] of {path.name} and in {sidecar}"
        raise Unfit(f"its policy is stated twice, {where}; keep one.")
    return _beside(path.with_name(sidecar), files, inline)


def _beside(path: Path, files: _Files, inline: Stated) -> Stated:
    try:
        head = read_head(path, files.directory)
        refuse_writable_by_all(head)
    except Unfit as error:
        raise Unfit(f"its policy file {path.name}: {error}") from error
    beside = read_sidecar(head.data, path.name)
    return Stated(
        policy=beside.policy,
        states_policy=True,
        description=beside.description,
        dependencies=inline.dependencies,
        requires_python=inline.requires_python,
    )


def _fallback(path: Path, policy: Policy, files: _Files) -> bytes | None:
    """What is answered instead of the script; it must be an answer itself."""
    if policy.fallback is None:
        return None
    name = policy.fallback.stdout_file
    if not policy.kind.interactive:
        raise Unfit("its policy has a fallback, which only interactive kinds can use; remove it.")
    if name not in files.names:
        raise Unfit(f"its fallback {name} is not in the scripts directory.")
    try:
        data = read_head(path.with_name(name), files.directory).data
    except Unfit as error:
        raise Unfit(f"its fallback {name}: {error}") from error
    if problem := problem_of_answer(data, roots=policy.answer):
        raise Unfit(f"its fallback {name} is no answer: {problem}.")
    return data


def _odd_files(directory: Path, names: Iterable[str], scripts: Iterable[str]) -> Iterator[str]:
    if directory.stat().st_mode & stat.S_IWOTH:
        yield f"every user of this machine may write to {directory}; run chmod o-w on it."
    known = set(scripts)
    for name in names:
        if not name.isprintable():
            yield f"the file {name!a} is left out: its name is not printable text."
        elif name.endswith(_SIDECAR) and name.removesuffix(_SIDECAR) not in known:
            yield _orphan(name, known)


def _orphan(sidecar: str, scripts: Iterable[str]) -> str:
    stem = sidecar.removesuffix(_SIDECAR)
    meant = [name for name in sorted(scripts) if Path(name).stem == stem]
    advice = f"; call it {meant[0]}{_SIDECAR}" if len(meant) == 1 else ""
    return f"the policy file {sidecar} belongs to no script: there is no {stem}{advice}."


def _unknown_script(key: str, name: str, known: list[str]) -> Iterator[str]:
    if name not in known:
        hint = nearest(name, known)
        advice = f"; did you mean {hint}?" if hint else "."
        yield f"{key} names {name}, and there is no such script{advice}"
