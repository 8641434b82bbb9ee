"""Whether a script can be compiled and finds what it imports. Nothing of it is run.

Its own interpreter is asked, since that decides which syntax and which packages there are. The
interpreter compiles and looks for modules and neither executes nor imports any. `perl -c` and the
like are not used: they run parts of what they check.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mediator.catalog.scripts import Script
from mediator.catalog.shebang import python_line
from mediator.catalog.unfit import Unfit
from mediator.model.policies import RunnerName

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Doubt:
    """Something that is wrong with the text of a script."""

    fatal: bool
    """no attempt can succeed"""
    sentence: str


def doubts(scripts: Iterable[Script]) -> list[tuple[Script, list[Doubt]]]:
    """What is wrong with each, several looked at at once."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        asked = [(script, pool.submit(_doubts, script)) for script in scripts]
        return [(script, found.result()) for script, found in asked]


def _doubts(script: Script) -> list[Doubt]:
    try:
        data = script.path.read_bytes()
        line = python_line(data)
    except (OSError, Unfit):  # the catalog has said so
        return []
    found = list(_line_ends(data))
    if script.policy.runner is RunnerName.KUBERNETES:
        return found  # its interpreter and what it imports are in an image
    if line is not None:
        program = script.interpreter[0] if script.interpreter else _found(line.program, script)
        flags = script.interpreter[1:] if script.interpreter else line.flags
        return [*found, *_python(script, program, flags)]
    return [*found, *_shell(script, data)]


def _line_ends(data: bytes) -> Iterator[Doubt]:
    at = data.find(b"\r\n")
    if at >= 0:
        number = data.count(b"\n", 0, at) + 1
        sentence = f"line {number} ends as in Windows (CR LF); save it with plain line feeds."
        yield Doubt(fatal=False, sentence=sentence)


def _python(script: Script, program: str, flags: Iterable[str]) -> Iterator[Doubt]:
    text = _PROBE.read_text(encoding="utf-8")
    answer = _output([program, *flags, "-c", text, str(script.path)], script)
    try:
        told = json.loads(answer.stdout) if answer is not None else {}
    except ValueError:
        return  # no Python that is known here, such as Python 2
    if told.get("syntax"):
        line, reason = told["syntax"]
        place = f"line {line}" if line else "somewhere"
        yield Doubt(fatal=True, sentence=f"{place}: {reason}.")
    for module, line in told.get("missing", ()):
        yield Doubt(fatal=False, sentence=_missing(script, module, line, program))


def _missing(script: Script, module: str, line: int, program: str) -> str:
    package = _DISTRIBUTIONS.get(module, module.replace("_", "-"))
    known = [*script.dependencies, package]
    where = "its environment" if script.dependencies else program
    return (
        f"line {line} imports {module}, which {where} does not have; write"
        f" dependencies = {json.dumps(known)} into its `# /// script` block."
    )


def _shell(script: Script, data: bytes) -> Iterator[Doubt]:
    words = data.partition(b"\n")[0].decode(errors="replace").removeprefix("#!").split()
    program = next((word for word in words if Path(word).name in _SHELLS), "")
    if not data.startswith(b"#!") or not program:
        return
    answer = _output([_found(program, script), "-n", str(script.path)], script)
    if answer is not None and answer.returncode != 0:
        reason = answer.stderr.partition("\n")[0].removeprefix(f"{script.path}: ").strip()
        yield Doubt(fatal=True, sentence=f"{reason or 'it is not a script of its shell'}.")


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
