"""What happened: what was handed over, what the store keeps of it, and what scripts did."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_STOPPED = "the mediator stopped while this attempt ran"
"""How the reason of an attempt begins that a mediator's death cut; it costs no attempt."""
_REPLACED = "its script is being replaced"
_CUT = frozenset({"lost", "cancelled"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """A script of the load, and how it behaves."""

    name: str
    fails: int = 0
    """attempts up to this number end with exit code 1, all later ones with 0"""
    attempts: int = 8
    """that its policy allows"""
    seconds: float = 0.0
    """it takes"""
    warm: bool = False
    ordered: bool = False
    interactive: bool = False

    @property
    def hopeless(self) -> bool:
        """Whether no attempt that is allowed can succeed."""
        return self.fails >= self.attempts

    def exit_code(self, number: int) -> int:
        """What the attempt of this number ends with."""
        return int(number <= self.fails)


@dataclass(kw_only=True, slots=True)
class Handed:
    """One hand-over, as its caller sees it."""

    name: str
    """its only argument, which no other hand-over has"""
    work: Work
    ticket: str
    body: bytes
    phase: str
    """the fault that was injected last when it began"""
    accepted: bool = False
    """whether the caller heard 202, or 200 from an interactive script"""
    delivery: str | None = None
    """its id, where the caller was told: the shim tells nobody"""

    @property
    def sha256(self) -> str:
        """Of the ticket."""
        return hashlib.sha256(self.body).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """One attempt, as the store keeps it."""

    number: int
    outcome: str | None
    exit_code: int | None = None
    reason: str = ""

    @property
    def cut(self) -> bool:
        """Whether its end is unknown, or was brought about by the mediator."""
        return self.outcome in _CUT

    @property
    def started(self) -> bool:
        """Whether the script ran, as far as anybody knows."""
        return self.outcome != "not_started"

    @property
    def charged(self) -> bool:
        """Whether it costs one of the attempts that the policy allows."""
        free = self.reason.startswith((_STOPPED, _REPLACED)) or self.outcome == "cancelled"
        return self.outcome not in {"ok", None} and not free


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """One delivery, as the store keeps it."""

    id: str
    script: str
    ticket: str | None
    name: str
    state: str
    tried: tuple[Tried, ...] = ()

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Kept:
        """As the API tells it."""
        fields = ("number", "outcome", "exit_code", "reason")
        return cls(
            id=document["id"],
            script=document["script"],
            ticket=document["ticket"]["id"],
            name=document["arguments"][0],
            state=document["state"],
            tried=tuple(Tried(**{k: one[k] for k in fields}) for one in document["attempts"]),
        )

    @property
    def charged(self) -> int:
        """Attempts that count."""
        return sum(one.charged for one in self.tried)

    @property
    def losses(self) -> int:
        """Attempts that a mediator's death cut."""
        return sum(one.outcome == "lost" and not one.charged for one in self.tried)


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line that a script wrote: an attempt began its work, or ended it."""

    word: str
    """`begin` or `end`"""
    delivery: str
    number: int
    sha256: str
    """of what it read from stdin"""

    @property
    def attempt(self) -> tuple[str, int]:
        """Whose."""
        return self.delivery, self.number


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """All of it, once nothing goes on any more."""

    works: Mapping[str, Work]
    handed: tuple[Handed, ...]
    kept: tuple[Kept, ...]
    """in the order of arrival"""
    lines: tuple[Line, ...]
    """in the order in which they were written"""
    damaged: tuple[str, ...] = ()
    """what stands in the file of effects and is no whole line"""
    shared: bool = False
    """several mediators worked on it: a script that one cannot stop may overlap with its next
    attempt elsewhere (docs/reference/postgresql.md)"""
    by_id: Mapping[str, Kept] = field(init=False)

    def __post_init__(self) -> None:
        """Sort it."""
        object.__setattr__(self, "by_id", {one.id: one for one in self.kept})


def read_lines(text: str) -> tuple[tuple[Line, ...], tuple[str, ...]]:
    """The lines of the file of effects, and those that are damaged."""
    lines, damaged = [], []
    for raw in text.splitlines():
        content, _, check = raw.rpartition(" ")
        if hashlib.sha256(content.encode()).hexdigest() == check:
            lines.append(_line(content.split()))
        else:
            damaged.append(raw)
    return tuple(lines), tuple(damaged)


def _line(fields: Iterable[str]) -> Line:
    word, delivery, number, sha256 = fields
    return Line(word=word, delivery=delivery, number=int(number), sha256=sha256)
