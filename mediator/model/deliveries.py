"""A delivery: one ticket, event and arguments handed over for one script, and what became of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from mediator.model.attempts import Attempt
from mediator.tracing.context import TraceContext


class State(StrEnum):
    """Where a delivery is. Legal ways are in `LEGAL`."""

    PENDING = "pending"
    """waits for its first or next attempt"""
    RUNNING = "running"
    """an attempt runs"""
    SUCCEEDED = "succeeded"
    """an attempt ended with exit code 0"""
    DEAD = "dead"
    """no attempt will be made unless an operator asks"""
    CANCELLED = "cancelled"
    """an operator, or the caller's deadline, ended it"""

    @property
    def ended(self) -> bool:
        """Whether nothing more happens by itself."""
        return self in ENDED


ENDED = frozenset({State.SUCCEEDED, State.DEAD, State.CANCELLED})

LEGAL: Mapping[State, frozenset[State]] = {
    State.PENDING: frozenset({State.PENDING, State.RUNNING, State.CANCELLED}),
    State.RUNNING: frozenset({State.PENDING, State.SUCCEEDED, State.DEAD, State.CANCELLED}),
    State.SUCCEEDED: frozenset({State.PENDING}),
    State.DEAD: frozenset({State.PENDING}),
    State.CANCELLED: frozenset({State.PENDING}),
}
"""Which state may follow which. An ended delivery goes back to pending only by an operator."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What becomes of a delivery after an attempt."""

    state: State
    due: datetime | None = None
    """when the next attempt is due; set exactly when `state` is pending"""
    charged: bool = False
    """whether it costs one of the attempts that the policy allows"""
    error: str = ""
    """one sentence on why it failed; empty when it succeeded"""

    def __post_init__(self) -> None:
        """Refuse a verdict that no delivery can follow."""
        if self.state not in LEGAL[State.RUNNING]:
            raise ValueError(f"an attempt cannot make a delivery {self.state}")
        if (self.state is State.PENDING) != (self.due is not None):
            raise ValueError("exactly a pending delivery has a due time")


@dataclass(frozen=True, kw_only=True, slots=True)
class TicketFields:
    """What is remembered of a ticket, for people to find it by. Values are bounded text."""

    id: str | None = None
    subject: str | None = None
    priority: str | None = None
    step: str | None = None
    requester: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NewDelivery:
    """What intake asks the store to keep."""

    id: str
    script: str
    event: str
    arguments: tuple[str, ...]
    variables: Mapping[str, str]
    """every `SCW_*` variable, `SCW_EVENT` included where it was sent"""
    body: bytes
    ticket: TicketFields
    received: datetime
    key_id: str
    idempotency_key: str
    interactive: bool
    expires: datetime | None = None
    """an interactive call is cancelled when it has not started by then"""
    deduplicate_since: datetime | None = None
    """look for the same content among deliveries received after this; None: do not look"""
    trace: TraceContext | None = None
    """the span that handed it over"""

    @property
    def content(self) -> bytes:
        """SHA-256 of what makes two deliveries the same: script, event, arguments, body."""
        parts = (self.script, self.event, *self.arguments)
        return content_digest(*(p.encode("utf-8", "surrogateescape") for p in parts), self.body)


def content_digest(*parts: bytes) -> bytes:
    """SHA-256 over parts, each with its length, so that no two lists look alike."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


class Repeat(StrEnum):
    """Whether a hand-over was seen before."""

    NEW = "new"
    RESENT = "resent"
    """the same Idempotency-Key: the caller did not hear the first answer"""
    DUPLICATE = "duplicate"
    """the same content within the de-duplication window"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """The store's answer: under which id the delivery is kept."""

    id: str
    repeat: Repeat


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """A delivery as the store remembers it, without the ticket's bytes."""

    seq: int
    """position in arrival order"""
    id: str
    script: str
    event: str
    arguments: tuple[str, ...]
    variables: Mapping[str, str]
    ticket: TicketFields
    interactive: bool
    state: State
    received: datetime
    due: datetime | None
    ended: datetime | None
    expires: datetime | None
    key_id: str
    budget_start: datetime
    """from when the total time for attempts counts: acceptance, or an operator's retry"""
    attempts_made: int
    failures: int
    losses: int
    last_error: str
    trace: TraceContext | None = None
    """the span that handed it over, which its attempts belong to"""
    attempts: tuple[Attempt, ...] = field(default=())


@dataclass(frozen=True, kw_only=True, slots=True)
class Fate:
    """What became of a delivery without an attempt having told it."""

    id: str
    ticket_id: str | None
    script: str
    event: str
    interactive: bool
    state: State
    """the state it is in now"""
    reason: str
    """why"""
    budget_start: datetime
    """when it was accepted, or an operator had it made again"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A delivery that this dispatcher may run now, with what it needs to run it."""

    delivery: Delivery
    """as of the claim: `attempts_made` already counts the attempt about to start"""
    body: bytes = field(repr=False)
    owner: str
    """which dispatcher instance holds it"""

    @property
    def number(self) -> int:
        """The number of the attempt about to start: 1, 2, ..."""
        return self.delivery.attempts_made
