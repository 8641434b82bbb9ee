"""The files that go into the SecureChange pod: the shim, its settings, a wrapper for every script.

SecureChange takes a path and, for triggers only, an arguments field; for every other kind there is
nothing but the path. So each script gets a wrapper of its own name that names it to the shim.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import mediator
from mediator.catalog.scripts import Script
from mediator.cli.failures import Failure
from mediator.errors import SettingsError
from mediator.model.kinds import Kind

POD_DIRECTORY = "/opt/tufin/data/securechange/scripts"
"""The only directory whose scripts SecureChange accepts (docs/securechange.md)."""
PUSH = "sudo tos scripts sc push --overwrite"
"""Tufin's way to put a file there, on the TOS host."""
SHIM = "securechange-shim"
EVENTS = "securechange-events.sh"

WHERE: Mapping[Kind, str] = {
    Kind.TRIGGER: "Settings > SecureChange API: path, arguments, workflow and events",
    Kind.PRE_ASSIGNMENT: "properties of the workflow step: pre-assignment script",
    Kind.CONDITION: "properties of the workflow step: skip or assignment condition",
    Kind.ASSIGNMENT: "properties of the workflow step: dynamic assignment",
    Kind.RISK_ANALYSIS: "properties of the workflow: risk analysis",
    Kind.VALIDATION: "SecureApp settings: ticket validation",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class BundleFile:
    """One file of the bundle."""

    name: str
    data: bytes = field(repr=False)
    mode: int = 0o755
    script: Script | None = None
    """the script that a wrapper is for"""

    @property
    def path_in_pod(self) -> str:
        """What to type into SecureChange."""
        return f"{POD_DIRECTORY}/{self.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ShimSettings:
    """What the shim must know."""

    urls: tuple[str, ...]
    key_id: str
    secret: str = field(repr=False)
    ca_file: Path | None = None
    """certificates to trust for https://, copied into the bundle"""
    more: tuple[tuple[str, str], ...] = ()
    """further settings of the shim, and their values"""


def make_bundle(
    settings: ShimSettings, scripts: Iterable[Script], *, events: bool
) -> list[BundleFile]:
    """All files, the shim first; `events`: also a wrapper that leaves the choice to the routes."""
    ready = list(scripts)
    files = [
        BundleFile(name=SHIM, data=_shim()),
        BundleFile(name=f"{SHIM}.conf", data=_configuration(settings), mode=0o644),
        BundleFile(name=f"{SHIM}.key", data=f"{settings.secret}\n".encode(), mode=0o600),
    ]
    if settings.ca_file is not None:
        files.append(BundleFile(name=f"{SHIM}.pem", data=_read(settings.ca_file), mode=0o644))
    if events:
        files.append(BundleFile(name=EVENTS, data=_wrapper("--events", what="every event")))
    stems = Counter(PurePath(script.name).stem for script in ready)
    for script in ready:
        stem = PurePath(script.name).stem
        name = f"{stem if stems[stem] == 1 else script.name}.sh"
        files.append(
            BundleFile(
                name=name, data=_wrapper("--script", script.name, what=script.name), script=script
            )
        )
    return files


def write_bundle(directory: Path, files: Iterable[BundleFile]) -> None:
    """Write the files, over older ones. Raises `Failure` when the directory cannot be written."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for file in files:
            path = directory / file.name
            path.unlink(missing_ok=True)
            path.touch(mode=file.mode, exist_ok=False)  # a secret is never readable, not even now
            path.write_bytes(file.data)
            path.chmod(file.mode)
    except OSError as error:
        raise Failure(f"{directory} cannot be written ({error.strerror}).") from error


def _configuration(settings: ShimSettings) -> bytes:
    lines = [
        "# Read by securechange-shim beside this file.",
        f"MEDIATOR_URL={' '.join(settings.urls)}",
        f"MEDIATOR_KEY_ID={settings.key_id}",
        f"MEDIATOR_KEY_FILE={SHIM}.key",
    ]
    if settings.ca_file is not None:
        lines.append(f"MEDIATOR_CA_FILE={SHIM}.pem")
    lines += (f"{name}={value}" for name, value in settings.more)
    return "".join(f"{line}\n" for line in lines).encode()


def _wrapper(*options: str, what: str) -> bytes:
    """Quoted for bash; a catalog's names are printable, but may hold anything else."""
    quoted = shlex.join(options)
    return (
        "#!/bin/bash\n"
        f"# Hands {what} to the mediator, by the shim beside this file.\n"
        f'exec "$BASH" "${{0%/*}}/{SHIM}" {quoted} "$@"\n'
    ).encode()


def _shim() -> bytes:
    """The shim, from the installed package or from the checkout."""
    package = Path(mediator.__file__).parent
    for path in (package / "shim" / SHIM, package.parent / "bash_shim" / SHIM):
        if path.is_file():
            return _read(path)
    raise SettingsError(f"the shim is missing from this installation at {package / 'shim'}.")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read ({error.strerror}).") from error
