"""What is asked of pod_program.bash, what it answers, and how a file there differs from ours.

A request is bytes behind the program on its standard input; the answer is a line for each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.resources import files as resources

from mediator.errors import SettingsError
from mediator.kube.client import KubernetesError

NEEDED_TO_INSTALL = ("chmod", "mv")
"""Commands without which a file can be neither made runnable nor replaced as a whole."""
_RUN = 0o100
"""The bit of a mode by which its owner may run a file."""


class PodError(KubernetesError):
    """A pod cannot be looked at or written to now, by what was said in it."""

    word = "pod"


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
class Listing:
    """What the container is able to, and what is in it; in the order of the files asked for."""

    tools: frozenset[str]
    seen: tuple[Seen, ...]


def program() -> bytes:
    """The program that answers; the requests come behind it."""
    return resources("mediator.keeper").joinpath("pod_program.bash").read_bytes()


def look(files: Iterable[PodFile]) -> bytes:
    """Ask what there is; nothing secret goes out."""
    return b"tools\n" + b"".join(b"look %s\n" % file.name.encode() for file in files) + b"end\n"


def compare(files: Iterable[PodFile]) -> bytes:
    """Ask whether the contents are these."""
    asked = (
        b"compare %d %s\n%s" % (len(file.data), file.name.encode(), file.data) for file in files
    )
    return b"".join(asked) + b"end\n"


def install(files: Iterable[PodFile]) -> bytes:
    """Ask to write them."""
    asked = (
        b"install %o %d %s\n%s" % (file.mode, len(file.data), file.name.encode(), file.data)
        for file in files
    )
    return b"".join(asked) + b"end\n"


def read_look(answer: bytes, files: Sequence[PodFile]) -> Listing:
    """The answer to `look`. Raises `PodError` for one that is none."""
    first, *rest = _lines(answer, len(files) + 1)
    word, *tools = first.split()
    if word != "tools":
        raise _nonsense(first)
    return Listing(tools=frozenset(tools), seen=tuple(_seen(line) for line in rest))


def read_compare(answer: bytes, files: Sequence[PodFile]) -> tuple[bool, ...]:
    """The answer to `compare`: whether each content is the same. Raises `PodError`."""
    lines = _lines(answer, len(files))
    for line in lines:
        if line not in {"same", "differs"}:
            raise _nonsense(line)
    return tuple(line == "same" for line in lines)


def read_install(answer: bytes, files: Sequence[PodFile]) -> tuple[str, ...]:
    """The answer to `install`: for each why it failed, or nothing. Raises `PodError`."""
    return tuple(_failure(line) for line in _lines(answer, len(files)))


def _lines(answer: bytes, count: int) -> list[str]:
    lines = answer.decode(errors="replace").splitlines()
    for line in lines:
        if line.startswith("stop "):
            raise PodError(line.removeprefix("stop "))
    if lines[-1:] != ["bye"] or len(lines) != count + 1:
        raise PodError("its answer was cut off; try again")
    return lines[:-1]


def _seen(line: str) -> Seen:
    match line.split():
        case ["absent"]:
            return Seen(absent=True)
        case ["other"]:
            return Seen(plain=False)
        case ["file", run, mode, *digest]:
            return Seen(
                can_run=run == "x",
                mode=None if mode == "?" else _octal(mode, line),
                digest=digest[0] if digest else None,
            )
    raise _nonsense(line)


def _octal(text: str, line: str) -> int:
    try:
        return int(text, 8)
    except ValueError as error:
        raise _nonsense(line) from error


def _failure(line: str) -> str:
    if line == "done":
        return ""
    if line.startswith("failed"):
        return line.removeprefix("failed").strip() or "it could not be written"
    raise _nonsense(line)


def _nonsense(line: str) -> PodError:
    return PodError(f"something else than bash answered there: {line[:100]!r}")


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
        if seen.can_run or not file.mode & _RUN:
            return None
        words = "cannot be run"
    elif seen.mode == file.mode:
        return None
    else:
        words = f"has mode {seen.mode:o} instead of {file.mode:o}"
    return Difference(file=file, drift=Drift.MODE, words=words)
