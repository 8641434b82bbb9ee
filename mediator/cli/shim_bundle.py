"""The files that go into the SecureChange pod: the shim, its settings, a wrapper for each script.

By the settings, what `shim bundle` writes into a directory and the keeper puts into the pods.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import mediator
from mediator.catalog.loader import ScriptsDirectory
from mediator.catalog.script import Script
from mediator.cli import options
from mediator.cli.failures import Failure
from mediator.cli.send import find_key
from mediator.cli.target import find_url
from mediator.errors import SettingsError
from mediator.keeper.protocol import PodFile
from mediator.keeper.sync import DesiredFiles
from mediator.settings.schema import Settings, Shim

POD_DIRECTORY = "/opt/tufin/data/securechange/scripts"
"""The only directory whose scripts SecureChange accepts (docs/reference/securechange.md)."""
SHIM = "securechange-shim"
EVENTS = "securechange-events.sh"
_HERE = frozenset({"127.0.0.1", "::1", "localhost"})


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """The files, and the scripts that are left out because they are not ready."""

    files: tuple[BundleFile, ...]
    left_out: tuple[Script, ...]


def bundle_of(config: Path | None, shim: ShimSettings) -> Bundle:
    """The files for the scripts that there are now. Raises `SettingsError`."""
    loaded = options.settings(config)
    catalog = ScriptsDirectory(settings=loaded).load()
    scripts = list(_chosen(catalog.scripts.values(), loaded.shim))
    return Bundle(
        files=tuple(
            bundle_files(
                shim, [script for script in scripts if script.ready], events=bool(loaded.routes)
            )
        ),
        left_out=tuple(script for script in scripts if not script.ready),
    )


def desired_files(config: Path | None) -> DesiredFiles:
    """What the keeper puts into each pod. Raises `SettingsError`."""
    loaded = options.settings(config)
    if only_here(loaded, None):
        raise SettingsError(
            "shim.url is not set, and the mediator listens on this machine only: say there where"
            " the pod reaches it, such as http://mediator.example:8080."
        )
    files = bundle_of(config, shim_settings(config, None)).files
    return DesiredFiles(
        directory=loaded.shim.directory,
        files=tuple(PodFile(name=file.name, data=file.data, mode=file.mode) for file in files),
        shim=SHIM,
        seconds=loaded.shim.exec_timeout.total_seconds(),
    )


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


def shim_settings(
    config: Path | None,
    url: str | None,
    *,
    key_id: str | None = None,
    key_file: Path | None = None,
    ca_file: Path | None = None,
) -> ShimSettings:
    """What the options say, else the settings. Raises `SettingsError` or `Failure`."""
    shim = options.settings(config).shim
    key = find_key(config, "", key_id=key_id or shim.key, key_file=key_file)
    named = url or shim.url
    first = find_url(config, named)
    return ShimSettings(
        urls=tuple((named or first).split()),
        key_id=key.id,
        secret=key.secret.decode(),
        ca_file=ca_file or shim.ca_file,
        more=tuple(_more(shim)),
    )


def only_here(settings: Settings, url: str | None) -> bool:
    """Whether the pod is given an address that leads to itself."""
    return url is None and settings.shim.url is None and settings.http.host in _HERE


def _chosen(scripts: Iterable[Script], shim: Shim) -> Iterable[Script]:
    found = list(scripts)
    if shim.scripts is None:
        return found
    unknown = sorted(shim.scripts - {script.name for script in found})
    if unknown:
        raise SettingsError(f"shim.scripts names {', '.join(unknown)}, which there is not.")
    return [script for script in found if script.name in shim.scripts]


def _more(shim: Shim) -> Iterable[tuple[str, str]]:
    if shim.connect_timeout is not None:
        yield "MEDIATOR_CONNECT_TIMEOUT", str(round(shim.connect_timeout.total_seconds()))
    if shim.timeout is not None:
        yield "MEDIATOR_TIMEOUT", str(round(shim.timeout.total_seconds()))
    if shim.spool_directory is not None:
        yield "MEDIATOR_SPOOL_DIR", shim.spool_directory


def bundle_files(
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
