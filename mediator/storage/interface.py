"""What the rest of the mediator asks of a store. Every method is one transaction.

Every method raises `StoreUnavailable` when the store cannot be reached, read or written now; then
nothing of it was stored.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from mediator.model.delivery import (
    Accepted,
    Census,
    Claim,
    Delivery,
    Ended,
    Fate,
    NewDelivery,
    State,
    Verdict,
)
from mediator.storage.notices import Notices


class DeliveryStore(Protocol):
    """Where deliveries live."""

    notices: Notices
    """tells who waits when something is accepted, ends, or is to be stopped"""
    alone: bool
    """whether no other mediator can be using it"""

    async def start(self) -> None:
        """Open it, with the schema of this program.

        Raises `SettingsError` if it never can, `StoreUnavailable` if it cannot now.
        """
        ...

    async def close(self) -> None:
        """Finish what was asked and let go."""
        ...

    # Deliveries come.

    async def accept(self, new: NewDelivery) -> Accepted:
        """Keep a delivery; it is on disk when this returns.

        Raises `KeyReused` when its Idempotency-Key came before with other content.
        """
        ...

    async def accept_together(self, news: Sequence[NewDelivery]) -> list[Accepted]:
        """Keep all of them or none; they are on disk when this returns. Raises `KeyReused`."""
        ...

    async def recognise(self, news: Sequence[NewDelivery]) -> list[Accepted | None]:
        """What `accept` would say of those that are kept already; None for those that are not.

        Raises `KeyReused`.
        """
        ...

    # A dispatcher takes them, keeps them leased, and records their ends.

    async def claim(self, capacity: Capacity, *, now: datetime, lease: datetime) -> list[Claim]:
        """Take due deliveries, oldest first, and open their next attempt; leased until `lease`.

        Fewer than there are slots for means that nothing else can be claimed now.
        """
        ...

    async def next_due(self, scripts: Collection[str], *, after: datetime) -> datetime | None:
        """When the next pending delivery of these scripts becomes due; None: there is none.

        Interactive ones are not looked at: they are due as soon as they are pending.
        """
        ...

    async def clamp_due(self, latest: Mapping[str, datetime], *, now: datetime) -> int:
        """Make due now what is due later than `latest` of its script; returns how many.

        No policy has that: a clock was set back. Interactive ones are not looked at.
        """
        ...

    async def finish(self, finish: Finish) -> State | None:
        """Close an attempt and apply its verdict; None when it is no longer the caller's.

        Returns the state the delivery is in now: one that is to be stopped is cancelled instead of
        pending.
        """
        ...

    async def renew(
        self, owner: str, running: Collection[str], *, lease: datetime
    ) -> Collection[str]:
        """Extend the leases of what `owner` runs; returns the ids that are to be stopped.

        To be stopped is also what is no longer the owner's.
        """
        ...

    async def held(self) -> list[Held]:
        """All attempts that run, whoever runs them."""
        ...

    async def recover(self, lost: Collection[Held], *, now: datetime) -> Sequence[Fate]:
        """Put back what was lost, unless it was renewed, ended or taken over since it was seen.

        Returns what became of each: it is pending again, or was given up.
        """
        ...

    async def adopt(
        self, lost: Collection[Held], *, owner: str, lease: datetime
    ) -> Sequence[Claim]:
        """Take over attempts that run without their dispatcher, under the same numbers.

        Unless they were renewed, ended or taken over since they were seen.
        """
        ...

    async def expire(self, *, now: datetime) -> Sequence[Fate]:
        """Cancel interactive deliveries whose caller no longer waits; returns which."""
        ...

    # An operator looks for deliveries, and changes what becomes of them.

    async def find(self, delivery_id: str) -> Delivery:
        """One delivery with its attempts and outputs. Raises `NotFound`."""
        ...

    async def body(self, delivery_id: str) -> bytes:
        """The ticket of one delivery, as it was handed over. Raises `NotFound`."""
        ...

    async def search(self, search: Search) -> list[Delivery]:
        """Deliveries with their attempts, without outputs."""
        ...

    async def retry(self, delivery_id: str, *, now: datetime) -> Delivery:
        """Make it due now with a fresh budget. Raises `NotFound`, or `Conflict` while it runs."""
        ...

    async def cancel(self, delivery_id: str, *, now: datetime, reason: str) -> Delivery:
        """End it for `reason`, or have its running attempt stopped.

        Raises `NotFound`, or `Conflict` when it has ended.
        """
        ...

    # What ended long ago goes.

    async def remove(self, rule: RetentionRule) -> int:
        """Remove some that need not be kept, so few that nobody waits for it for long.

        Returns how many; 0: there are no more.
        """
        ...

    async def vacuum_step(self) -> bool:
        """Return a little of what removals left unused to the disk.

        Returns whether there is more; some of it stays for what comes.
        """
        ...

    # Summaries, for metrics and the console.

    async def backlog(self) -> Backlog:
        """Counts for metrics."""
        ...

    async def census(self, *, now: datetime) -> Census:
        """How many deliveries there are, by script and state; takes time in proportion."""
        ...

    async def waiting(self) -> Mapping[str, int]:
        """Script → how many of its deliveries are pending; interactive ones are not counted."""
        ...

    async def ends(
        self, *, since: datetime, until: datetime, step: timedelta
    ) -> Mapping[tuple[int, State], int]:
        """How many deliveries ended, by step (0, 1, ... from `since`) and state."""
        ...

    async def recent(self, scripts: Collection[str], *, most: int) -> Mapping[str, list[Delivery]]:
        """Script → its latest deliveries, newest first, without their attempts."""
        ...

    async def seq_at(self, at: datetime) -> int:
        """About which `seq` came first at `at` or later; not exact where a clock was set back."""
        ...

    async def change_token(self) -> Hashable:
        """Something that is another one when deliveries have come, begun to run, or ended."""
        ...

    # How the store itself is.

    async def size(self) -> int | None:
        """Bytes of the database; None: it cannot tell."""
        ...

    async def free(self) -> int | None:
        """Bytes free where it is kept; None: it cannot tell."""
        ...

    async def probe(self) -> None:
        """Prove that the store can be written; raises `StoreUnavailable` if not."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Capacity:
    """What a dispatcher can take now."""

    owner: str
    """the dispatcher instance"""
    interactive_slots: int
    """free slots for interactive deliveries"""
    slots: int
    """free slots for the others"""
    room: Mapping[str, int]
    """script → how many more of its attempts may start; scripts that are not here wait"""
    ordered: frozenset[str] = frozenset()
    """scripts whose deliveries of one ticket run one after another"""
    limits: Mapping[str, int] = field(default_factory=dict)
    """script → how many of its attempts may run at once, by all who share the store"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """A running attempt, as a dispatcher holds it."""

    delivery_id: str
    number: int
    """the attempt's number"""
    owner: str
    lease: datetime | None
    """until when, by the owner's clock; every renewal changes it, which proves the owner alive"""
    script: str = field(default="", compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finish:
    """The end of an attempt, to be recorded."""

    delivery_id: str
    owner: str
    number: int
    """the attempt's number"""
    at: datetime
    ended: Ended
    verdict: Verdict
    script_sha256: str = ""
    """which version of the script ran"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """Which deliveries to list, newest first. None means any."""

    script: str | None = None
    event: str | None = None
    state: State | None = None
    ticket: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 50
    """1..500"""
    after: int | None = None
    """continue behind the delivery with this `seq`"""
    floor: int | None = None
    """look no further back than to this `seq`"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backlog:
    """How full the store is, for metrics."""

    pending: int
    running: int
    dead: int
    oldest_pending: datetime | None
    """when the delivery that has waited longest was received"""


@dataclass(frozen=True, kw_only=True, slots=True)
class RetentionRule:
    """Which deliveries of one state of those that have ended are kept."""

    state: State
    since: datetime | None
    """those that ended later; None: however old"""
    most: int | None
    """of those no more than so many, the last to end; None: any number"""
    always_since: datetime
    """those that were received or ended later, whatever their number"""
