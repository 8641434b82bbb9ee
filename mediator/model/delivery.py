"""A delivery: one ticket, event and arguments handed over for one script, and what became of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

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

    def at_first_attempt(self) -> Delivery:
        """As the store holds it while its first attempt runs."""
        return Delivery(
            seq=1,
            id=self.id,
            script=self.script,
            event=self.event,
            arguments=self.arguments,
            variables=self.variables,
            ticket=self.ticket,
            interactive=self.interactive,
            state=State.RUNNING,
            received=self.received,
            due=None,
            ended=None,
            expires=self.expires,
            key_id=self.key_id,
            budget_start=self.received,
            attempts_made=1,
            failures=0,
            losses=0,
            last_error="",
            trace=self.trace,
        )


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


class Outcome(StrEnum):
    """How an attempt ended."""

    OK = "ok"
    """exit code 0"""
    FAILED = "failed"
    """another exit code"""
    BAD_ANSWER = "bad_answer"
    """exit code 0, but what an interactive script printed is no answer of its kind"""
    SIGNAL = "signal"
    """ended by a signal that the mediator did not send"""
    TIMEOUT = "timeout"
    """stopped by the mediator after the policy's timeout"""
    CANCELLED = "cancelled"
    """stopped by the mediator because an operator asked, or the daemon was shut down"""
    NOT_STARTED = "not_started"
    """the script could not be executed at all (no interpreter, not executable, no memory)"""
    LOST = "lost"
    """the mediator, its launcher or its cluster died while the attempt ran; its end is unknown"""
    OUT_OF_MEMORY = "out_of_memory"
    """killed because its pod used more memory than its limit"""
    EVICTED = "evicted"
    """its pod was taken off its node"""
    NO_IMAGE = "no_image"
    """the image of its pod cannot be had"""
    UNSCHEDULABLE = "unschedulable"
    """no node took its pod in time"""
    REFUSED = "refused"
    """the cluster refused it, by a quota, an admission rule or for want of a right"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """What a script wrote to one stream, bounded.

    `head` is the beginning; when the script wrote more than the bound, `tail` is the end and
    `omitted` counts the bytes between them (0: `head` is everything).
    """

    head: bytes = b""
    tail: bytes = b""
    omitted: int = 0

    @property
    def size(self) -> int:
        """Bytes the script wrote, kept or not."""
        return len(self.head) + self.omitted + len(self.tail)

    @property
    def truncated(self) -> bool:
        """Whether bytes are missing."""
        return self.omitted > 0

    @property
    def kept(self) -> bytes:
        """What is kept, with a line that marks the gap where bytes are missing."""
        if not self.truncated:
            return self.head
        return b"%s\n[mediator: %d bytes omitted]\n%s" % (self.head, self.omitted, self.tail)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """The end of an attempt, as a runner reports it."""

    outcome: Outcome
    exit_code: int | None = None
    """0..255, or None when the script did not exit by itself"""
    signal: int | None = None
    """the number of the signal that ended it, or None"""
    reason: str = ""
    """one sentence for a person; empty for `ok`"""
    stdout: Output = field(default_factory=Output)
    stderr: Output = field(default_factory=Output)
    leftovers: int = 0
    """processes the script left behind, which the runner killed"""
    final: bool = False
    """another attempt can only end in the same way"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One run as the store remembers it. `outcome` is None while it runs."""

    number: int
    """1, 2, ..."""
    started: datetime
    ended: datetime | None = None
    outcome: Outcome | None = None
    exit_code: int | None = None
    signal: int | None = None
    reason: str = ""
    script_sha256: str = ""
    """which version of the script ran, in hexadecimal digits; empty while it runs"""
    stdout: Output = field(default_factory=Output)
    stderr: Output = field(default_factory=Output)


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


Calls = tuple[str, bool]
"""A script, and whether a person waits for its answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """What is pending of one script and one sort of call."""

    calls: Calls
    pending: int
    """deliveries that wait for their first or next attempt"""
    retrying: int
    """those of them whose time has not come: an attempt failed, and the next one is due later"""
    first_due: datetime
    """when the one that was due first became due, or will"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Census:
    """The store at one moment."""

    waiting: Sequence[Waiting]
    oldest_pending: datetime | None
    """when the pending delivery that came first was received"""
    running: Mapping[Calls, int]
    dead: Mapping[Calls, int]
    ended: Mapping[State, int]
    """state → deliveries, for the states in which nothing more happens by itself"""

    @property
    def pending(self) -> int:
        """Deliveries that wait, of all scripts."""
        return sum(group.pending for group in self.waiting)

    @property
    def by_state(self) -> dict[State, int]:
        """Every state → deliveries in it."""
        unfinished = {State.PENDING: self.pending, State.RUNNING: sum(self.running.values())}
        return {state: {**unfinished, **self.ended}.get(state, 0) for state in State}
