"""One run of a script: how it ended and what it printed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


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
