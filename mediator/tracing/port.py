"""What the mediator asks of whoever records spans, and the answer where nobody does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from mediator.tracing.context import TraceContext

Facts = Mapping[str, str | int | float | bool | None]
"""Attributes of a span; None leaves one out. Never what a ticket or a script says."""


class Role(StrEnum):
    """What a span is to the rest of its trace."""

    SERVER = "server"
    """it answers a call"""
    CONSUMER = "consumer"
    """it does what was handed over before"""
    INTERNAL = "internal"


class Span(Protocol):
    """Something that takes time."""

    @property
    def context(self) -> TraceContext | None:
        """Its place, for what it causes; None: it has none."""
        ...

    def note(self, facts: Facts) -> None:
        """Attach more facts."""
        ...

    def fail(self, reason: str) -> None:
        """It did not succeed; one sentence on why."""
        ...


class Tracer(Protocol):
    """Records spans. No method waits for anything or raises."""

    def span(
        self, name: str, *, role: Role, parent: TraceContext | None, facts: Facts
    ) -> AbstractContextManager[Span]:
        """A span from now to the end of the `with` block; without a parent a new trace."""
        ...

    def past(
        self,
        name: str,
        *,
        parent: TraceContext | None,
        began: datetime,
        ended: datetime,
        facts: Facts,
    ) -> None:
        """A span that is over."""
        ...

    async def close(self) -> None:
        """Send what is still to be sent, within a bound."""
        ...


@dataclass(frozen=True, slots=True)
class _Passed:
    """No span: what it would cause belongs to its parent."""

    context: TraceContext | None

    def note(self, facts: Facts) -> None:
        """Nobody is told."""

    def fail(self, reason: str) -> None:
        """Nobody is told."""


class NoTracer:
    """Records nothing, and passes on the contexts that came."""

    @contextmanager
    def span(
        self, name: str, *, role: Role, parent: TraceContext | None, facts: Facts
    ) -> Iterator[Span]:
        """The parent itself."""
        del name, role, facts
        yield _Passed(parent)

    def past(
        self,
        name: str,
        *,
        parent: TraceContext | None,
        began: datetime,
        ended: datetime,
        facts: Facts,
    ) -> None:
        """Nothing."""

    async def close(self) -> None:
        """Nothing."""
