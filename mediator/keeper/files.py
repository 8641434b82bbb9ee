"""The files that belong into the pod, what was seen of them there, and how the two differ."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum

from mediator.errors import SettingsError

RUN = 0o100
"""The bit of a mode by which its owner may run a file."""


class Drift(StrEnum):
    """How a file in the pod differs from the one that belongs there."""

    MISSING = "missing"
    CONTENT = "content"
    MODE = "mode"
    OTHER = "other"
    """it is a directory, a link, or something stranger"""


@dataclass(frozen=True, kw_only=True, slots=True)
class PodFile:
    """A file that belongs into the pod's directory."""

    name: str
    data: bytes = field(repr=False)
    mode: int

    def __post_init__(self) -> None:
        """Refuse what cannot get there. Raises `SettingsError`.

        bash drops NUL bytes, and a name is one line of a request.
        """
        if b"\0" in self.data:
            raise SettingsError(f"{self.name} holds a NUL byte, so it cannot be put into a pod.")
        if not self.name or not self.name.isprintable() or "/" in self.name:
            raise SettingsError(f"{self.name!r} cannot be the name of a file in a pod.")

    @property
    def digest(self) -> str:
        """Its SHA-256, hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What is at a file's place in the pod."""

    absent: bool = False
    plain: bool = True
    can_run: bool = False
    mode: int | None = None
    """None: the container cannot tell"""
    digest: str | None = None
    """SHA-256, hexadecimal; None: the container cannot tell"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A file that is not as it should be."""

    file: PodFile
    drift: Drift
    words: str
    """continues the file's name"""


def difference(file: PodFile, seen: Seen, *, same: bool | None = None) -> Difference | None:
    """How they differ; `same`: whether the bytes were compared, which the digest then need not."""
    if seen.absent:
        return Difference(file=file, drift=Drift.MISSING, words="is missing")
    if not seen.plain:
        return Difference(file=file, drift=Drift.OTHER, words="is not a plain file")
    if not (seen.digest == file.digest if same is None else same):
        return Difference(file=file, drift=Drift.CONTENT, words="has other content")
    return _mode_difference(file, seen)


def _mode_difference(file: PodFile, seen: Seen) -> Difference | None:
    """Without `stat` only the run bit can be seen, by the user that the container runs as."""
    if seen.mode is None:
        if seen.can_run or not file.mode & RUN:
            return None
        words = "cannot be run"
    elif seen.mode == file.mode:
        return None
    else:
        words = f"has mode {seen.mode:o} instead of {file.mode:o}"
    return Difference(file=file, drift=Drift.MODE, words=words)
