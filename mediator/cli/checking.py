"""What `mediator check` looks at: everything that would stop the daemon, or a script.

Nothing is changed: no directory is made, no database opened, no port bound, because a mediator
with the same settings may be running.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mediator.catalog.directory import ScriptsDirectory
from mediator.catalog.environments.preparing import NOT_BUILT, with_environments
from mediator.catalog.scripts import Catalog, Script
from mediator.cli.prepare import builder_of
from mediator.cli.soundness import doubts
from mediator.cli.trial import named
from mediator.errors import SettingsError
from mediator.settings.secrets import read_secrets
from mediator.settings.tree import Settings, Store
from mediator.storage.choosing import store_of


class Grade(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """it works, and somebody should know"""
    NOT_READY = "not ready"
    """a script cannot run; the others can"""
    BROKEN = "broken"
    """a script can be started, and every attempt fails"""
    NOT_ALLOWED = "not allowed"
    """a cluster does not let the mediator do what its settings want of it"""
    UNREACHABLE = "unreachable"
    """a cluster does not answer"""
    ERROR = "error"
    """`mediator serve` would not start"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    grade: Grade
    detail: str = ""


def findings(settings: Settings) -> Iterator[Finding]:
    """Everything, in the order in which the daemon would need it."""
    yield from _secrets(settings)
    yield _store(settings.store)
    yield _directory("dispatch.work_directory", settings.dispatch.work_directory)
    yield from _scripts(settings)


def findings_of(settings: Settings, names: Sequence[str]) -> Iterator[Finding]:
    """What there is to say of these scripts alone. Raises `NotFound` or `SettingsError`."""
    catalog = _catalog(settings)
    yield from _of_scripts([named(catalog, name) for name in names])


def intention(settings: Settings) -> str:
    """What `mediator serve` would do with these settings, in one sentence."""
    http, kept = settings.http, settings.store.path or "a PostgreSQL database"
    port = "any free port" if http.port == 0 else f"port {http.port}"
    if http.metrics_port is not None:
        port += f" (health and metrics: port {http.metrics_port})"
    return (
        f"mediator serve listens on {http.host}, {port}, runs the scripts of"
        f" {settings.scripts.directory}, and keeps deliveries in {kept}."
    )


def _secrets(settings: Settings) -> Iterator[Finding]:
    auth = settings.auth
    try:
        read_secrets(auth)
    except SettingsError as error:
        for line in str(error).splitlines():
            yield Finding(what="secrets", grade=Grade.ERROR, detail=line)
    else:
        count = f"{len(auth.keys)} of auth.keys, {len(auth.tokens)} of auth.tokens"
        yield Finding(what="secrets", grade=Grade.OK, detail=count)
    if not auth.tokens:
        detail = "auth.tokens names none: the operator API is closed, and its commands with it."
        yield Finding(what="tokens", grade=Grade.WARNING, detail=detail)


def _store(store: Store) -> Finding:
    """A database on a server is not asked: `mediator migrate --check` does that."""
    if store.path is not None:
        return _directory("store.url", store.path.parent, _file_problem(store.path))
    try:
        store_of(store)
    except SettingsError as error:
        return Finding(what="store.url", grade=Grade.ERROR, detail=str(error))
    detail = "a PostgreSQL database; `mediator migrate --check` asks it"
    return Finding(what="store.url", grade=Grade.OK, detail=detail)


def _directory(key: str, directory: Path, problem: str = "") -> Finding:
    problem = problem or _not_writable(directory)
    if problem:
        return Finding(what=key, grade=Grade.ERROR, detail=problem)
    is_there = directory.exists()
    return Finding(
        what=key,
        grade=Grade.OK,
        detail=f"{directory} {'can be written' if is_there else 'will be made'}",
    )


def _not_writable(directory: Path) -> str:
    """Why nothing can be made in `directory`, which need not exist yet."""
    nearest = next(path for path in (directory, *directory.parents) if path.exists())
    if not nearest.is_dir():
        return f"{nearest} is not a directory; name another place."
    if not os.access(nearest, os.W_OK | os.X_OK):
        return f"{nearest} cannot be written by this user; give it to the mediator's."
    return ""


def _file_problem(file: Path) -> str:
    if not file.exists():
        return ""
    if not file.is_file():
        return f"{file} is not a file; name another place."
    if not os.access(file, os.R_OK | os.W_OK):
        return f"{file} cannot be written by this user; give it to the mediator's."
    return ""


def _scripts(settings: Settings) -> Iterator[Finding]:
    try:
        catalog = _catalog(settings)
    except SettingsError as error:
        yield Finding(what="scripts", grade=Grade.ERROR, detail=str(error))
        return
    yield from _of_scripts(catalog.scripts.values())
    if not catalog.scripts:
        detail = f"{catalog.directory} holds no script yet."
        yield Finding(what="scripts", grade=Grade.WARNING, detail=detail)
    for warning in catalog.warnings:
        yield Finding(what="scripts", grade=Grade.WARNING, detail=warning)


def _catalog(settings: Settings) -> Catalog:
    found = ScriptsDirectory(settings=settings).load()
    return asyncio.run(with_environments(found, builder_of(settings)))


def _of_scripts(scripts: Iterable[Script]) -> Iterator[Finding]:
    """One finding each, unless there are several; a script that is fine is found to be so."""
    for script, found in doubts(scripts):
        own = _script(script)
        if own.grade is not Grade.OK or not found:
            yield own
        for doubt in found:
            # Before its packages are there, nobody knows what is missing.
            if doubt.fatal or script.problem != NOT_BUILT:
                grade = Grade.BROKEN if doubt.fatal else Grade.WARNING
                yield Finding(what=script.name, grade=grade, detail=doubt.sentence)


def _script(script: Script) -> Finding:
    if script.problem == NOT_BUILT:
        return Finding(what=script.name, grade=Grade.WARNING, detail=script.problem)
    if script.problem:
        return Finding(what=script.name, grade=Grade.NOT_READY, detail=script.problem)
    grade = Grade.WARNING if script.warning else Grade.OK
    return Finding(what=script.name, grade=grade, detail=script.warning or script.description)
