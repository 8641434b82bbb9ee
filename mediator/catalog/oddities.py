"""What is odd about the scripts directory and the settings, though it stops no script."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from mediator.catalog.reading import SIDECAR
from mediator.catalog.scripts import Script
from mediator.settings.explaining import nearest
from mediator.settings.tree import Settings


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
