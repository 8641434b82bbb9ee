"""What `mediator check` looks at: everything that would stop the daemon, or a script.

Nothing is changed: no directory is made, no database opened, no port bound, because a mediator
with the same settings may be running. Static checks say whether a script can be compiled and finds
what it imports; nothing of it is run.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mediator.catalog.environments.builder import NOT_BUILT, with_environments
from mediator.catalog.files import InvalidScript
from mediator.catalog.interpreter import python_line
from mediator.catalog.loader import ScriptsDirectory
from mediator.catalog.script import Catalog, Script
from mediator.cli.options import script_named
from mediator.cli.prepare import builder_of
from mediator.errors import SettingsError
from mediator.settings.schema import Settings, Store
from mediator.settings.secrets import read_secrets
from mediator.storage.factory import store_of

_PROBE = Path(__file__).with_name("probe.py")
_SHELLS = frozenset({"bash", "dash", "ksh", "sh"})
_SECONDS = 30.0
_AT_ONCE = 8
_DISTRIBUTIONS = {
    "attr": "attrs", "bs4": "beautifulsoup4", "Crypto": "pycryptodome", "dateutil":
    "python-dateutil", "dotenv": "python-dotenv", "jwt": "pyjwt", "ldap": "python-ldap",
    "OpenSSL": "pyopenssl", "PIL": "pillow", "pytos2": "pytos2-ce", "yaml": "pyyaml",
}  # fmt: skip
"""Modules whose package has another name."""


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
    yield from _of_scripts([script_named(catalog, name) for name in names])


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
    for script, found in static_checks(scripts):
        own = _script(script)
        if own.grade is not Grade.OK or not found:
            yield own
        for defect in found:
            # Before its packages are there, nobody knows what is missing.
            if defect.fatal or script.problem != NOT_BUILT:
                grade = Grade.BROKEN if defect.fatal else Grade.WARNING
                yield Finding(what=script.name, grade=grade, detail=defect.sentence)


def _script(script: Script) -> Finding:
    if script.problem == NOT_BUILT:
        return Finding(what=script.name, grade=Grade.WARNING, detail=script.problem)
    if script.problem:
        return Finding(what=script.name, grade=Grade.NOT_READY, detail=script.problem)
    grade = Grade.WARNING if script.warning else Grade.OK
    return Finding(what=script.name, grade=grade, detail=script.warning or script.description)


@dataclass(frozen=True, kw_only=True, slots=True)
class Defect:
    """Something that is wrong with the text of a script."""

    fatal: bool
    """no attempt can succeed"""
    sentence: str


def static_checks(scripts: Iterable[Script]) -> list[tuple[Script, list[Defect]]]:
    """What is wrong with each, several looked at at once."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        asked = [(script, pool.submit(_defects, script)) for script in scripts]
        return [(script, found.result()) for script, found in asked]


def _defects(script: Script) -> list[Defect]:
    try:
        data = script.path.read_bytes()
        line = python_line(data)
    except (OSError, InvalidScript):  # the catalog has said so
        return []
    found = list(_line_ends(data))
    if script.policy.in_pod:
        return found  # its interpreter and what it imports are in an image
    if line is not None:
        program = script.interpreter[0] if script.interpreter else _found(line.program, script)
        flags = script.interpreter[1:] if script.interpreter else line.flags
        return [*found, *_python(script, program, flags)]
    return [*found, *_shell(script, data)]


def _line_ends(data: bytes) -> Iterator[Defect]:
    at = data.find(b"\r\n")
    if at >= 0:
        number = data.count(b"\n", 0, at) + 1
        sentence = f"line {number} ends as in Windows (CR LF); save it with plain line feeds."
        yield Defect(fatal=False, sentence=sentence)


def _python(script: Script, program: str, flags: Iterable[str]) -> Iterator[Defect]:
    text = _PROBE.read_text(encoding="utf-8")
    answer = _output([program, *flags, "-c", text, str(script.path)], script)
    try:
        told = json.loads(answer.stdout) if answer is not None else {}
    except ValueError:
        return  # no Python that is known here, such as Python 2
    if told.get("syntax"):
        line, reason = told["syntax"]
        place = f"line {line}" if line else "somewhere"
        yield Defect(fatal=True, sentence=f"{place}: {reason}.")
    for module, line in told.get("missing", ()):
        yield Defect(fatal=False, sentence=_missing(script, module, line, program))


def _missing(script: Script, module: str, line: int, program: str) -> str:
    package = _DISTRIBUTIONS.get(module, module.replace("_", "-"))
    known = [*script.dependencies, package]
    where = "its environment" if script.dependencies else program
    return (
        f"line {line} imports {module}, which {where} does not have; write"
        f" dependencies = {json.dumps(known)} into its `# /// script` block."
    )


def _shell(script: Script, data: bytes) -> Iterator[Defect]:
    words = data.partition(b"\n")[0].decode(errors="replace").removeprefix("#!").split()
    program = next((word for word in words if Path(word).name in _SHELLS), "")
    if not data.startswith(b"#!") or not program:
        return
    answer = _output([_found(program, script), "-n", str(script.path)], script)
    if answer is not None and answer.returncode != 0:
        reason = answer.stderr.partition("\n")[0].removeprefix(f"{script.path}: ").strip()
        yield Defect(fatal=True, sentence=f"{reason or 'it is not a script of its shell'}.")


def _found(program: str, script: Script) -> str:
    path = script.policy.env.get("PATH")
    return shutil.which(program or "python3", path=path) or program or "python3"


def _output(command: list[str], script: Script) -> subprocess.CompletedProcess[str] | None:
    """What it says, in the environment of scripts; None when it cannot be asked."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "PATH") if name in os.environ}
    try:
        return subprocess.run(  # noqa: S603 - the interpreter of the script, with a text of ours
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_SECONDS,
            text=True,
            errors="replace",
            cwd="/",
            env={**kept, **script.policy.env},
        )
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return None
