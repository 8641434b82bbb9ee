"""What belongs into SecureChange's pod by the settings, for the bundle and for the keeper."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mediator.catalog.directory import ScriptsDirectory
from mediator.catalog.scripts import Script
from mediator.cli import options
from mediator.cli.bundle import SHIM, BundleFile, ShimSettings, make_bundle
from mediator.cli.send import find_key
from mediator.cli.target import find_url
from mediator.errors import SettingsError
from mediator.keeper.files import PodFile
from mediator.keeper.keeping import Wanted
from mediator.settings.shim import Shim
from mediator.settings.tree import Settings

_HERE = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundled:
    """The files, and the scripts that are left out because they are not ready."""

    files: tuple[BundleFile, ...]
    left_out: tuple[Script, ...]


def bundled(config: Path | None, shim: ShimSettings) -> Bundled:
    """The files for the scripts that there are now. Raises `SettingsError`."""
    loaded = options.settings(config)
    catalog = ScriptsDirectory(settings=loaded).load()
    scripts = list(_chosen(catalog.scripts.values(), loaded.shim))
    return Bundled(
        files=tuple(
            make_bundle(
                shim, [script for script in scripts if script.ready], events=bool(loaded.routes)
            )
        ),
        left_out=tuple(script for script in scripts if not script.ready),
    )


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


def wanted(config: Path | None) -> Wanted:
    """What the keeper puts into each pod. Raises `SettingsError`."""
    loaded = options.settings(config)
    if only_here(loaded, None):
        raise SettingsError(
            "shim.url is not set, and the mediator listens on this machine only: say there where"
            " the pod reaches it, such as http://mediator.example:8080."
        )
    files = bundled(config, shim_settings(config, None)).files
    return Wanted(
        directory=loaded.shim.directory,
        files=tuple(PodFile(name=file.name, data=file.data, mode=file.mode) for file in files),
        shim=SHIM,
        seconds=loaded.shim.exec_timeout.total_seconds(),
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
