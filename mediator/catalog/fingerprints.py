"""Whether a file is still the one that was read, told without reading it."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from mediator.errors import SettingsError


class Fingerprint(NamedTuple):
    """What the file system says of a file; whoever writes to it or replaces it changes this."""

    device: int
    inode: int
    size: int
    modified: int
    """nanoseconds since 1970; a program can set it"""
    changed: int
    """nanoseconds since 1970; no program can set it"""


MISSING = Fingerprint(0, 0, 0, 0, 0)
"""Of a name that leads to no file."""

FileState = tuple[Path, Fingerprint]
"""A file, and the fingerprint it had when it was read."""


def fingerprint(path: Path) -> Fingerprint:
    """Of what `path` leads to now, of a link that leads nowhere itself, or else `MISSING`."""
    for look in (path.stat, path.lstat):
        try:
            return of(look())
        except OSError:
            continue
    return MISSING


def of(status: os.stat_result) -> Fingerprint:
    """From what stat(2) says."""
    return Fingerprint(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )


def listing(directory: Path) -> Mapping[str, Fingerprint]:
    """Every name in the directory that leads not to a directory, in alphabetical order.

    Raises `SettingsError` when the directory cannot be listed.
    """
    try:
        with os.scandir(directory) as entries:
            found = [(entry.name, _of_entry(entry)) for entry in entries]
    except FileNotFoundError as error:
        what = "does not exist; make it, or name another"
        raise SettingsError(f"scripts.directory: {directory} {what}.") from error
    except OSError as error:
        what = f"cannot be listed ({error.strerror})"
        raise SettingsError(f"scripts.directory: {directory} {what}.") from error
    return {name: state for name, state in sorted(found) if state is not None}


def _of_entry(entry: os.DirEntry[str]) -> Fingerprint | None:
    """None for a directory. A link that leads nowhere has a fingerprint of its own."""
    try:
        status = entry.stat()
    except OSError:
        return _of_link(entry)
    return None if stat.S_ISDIR(status.st_mode) else of(status)


def _of_link(entry: os.DirEntry[str]) -> Fingerprint | None:
    try:
        return of(entry.stat(follow_symlinks=False))
    except OSError:  # it is gone again
        return None
