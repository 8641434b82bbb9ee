"""Deliveries, claims and ends for tests of a store, with time under control; stores with faults."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from mediator.errors import StoreUnavailable
from mediator.metrics import Metrics
from mediator.model.delivery import (
    Claim,
    Delivery,
    Ended,
    NewDelivery,
    Outcome,
    Output,
    State,
    TicketFields,
    Verdict,
)
from mediator.storage.interface import Capacity, DeliveryStore, Finish

START = datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LEASE = timedelta(seconds=60)
ROOMY = 1000

_numbers = count(1)


def new(script: str = "a.py", *, at: datetime = START, **fields: Any) -> NewDelivery:
    """A delivery unlike every other, unless fields say otherwise."""
    number = next(_numbers)
    interactive = fields.get("interactive", False)
    values: dict[str, Any] = {
        "id": f"00000000-0000-7000-8000-{number:012d}",
        "script": script,
        "event": "ADVANCE",
        "arguments": (),
        "variables": {"SCW_EVENT": "ADVANCE"},
        "body": b"<ticket_info>%d</ticket_info>" % number,
        "ticket": TicketFields(id=str(number)),
        "received": at,
        "key_id": "securechange",
        "idempotency_key": f"key-{number}",
        "interactive": interactive,
        "deduplicate_since": None if interactive else at - timedelta(days=1),
    }
    return NewDelivery(**{**values, **fields})


def like(first: NewDelivery, **fields: Any) -> NewDelivery:
    """A hand-over of the same content under another id and Idempotency-Key."""
    same = {
        name: getattr(first, name)
        for name in ("event", "arguments", "variables", "body", "ticket", "interactive")
    }
    return new(first.script, **{**same, "at": first.received, **fields})


def ticket(number: str | None) -> TicketFields:
    return TicketFields(id=number)


OK = Ended(outcome=Outcome.OK, exit_code=0)
FAILED = Ended(outcome=Outcome.FAILED, exit_code=1, reason="ended with exit code 1")
SUCCEEDED = Verdict(state=State.SUCCEEDED)
DEAD = Verdict(state=State.DEAD, charged=True, error="no attempt is left")


def again(due: datetime) -> Verdict:
    return Verdict(state=State.PENDING, due=due, charged=True, error="ended with exit code 1")


@dataclass
class Desk:
    """A dispatcher by hand: claims and finishes as one owner, at the time it is told."""

    store: DeliveryStore
    owner: str = "here"
    now: datetime = START
    ordered: frozenset[str] = frozenset()
    room: dict[str, int] = field(default_factory=lambda: {"a.py": ROOMY, "b.py": ROOMY})

    async def accept(self, script: str = "a.py", **fields: Any) -> str:
        accepted = await self.store.accept(new(script, **{"at": self.now, **fields}))
        return accepted.id

    async def claim(
        self,
        slots: int = ROOMY,
        interactive_slots: int = ROOMY,
        room: dict[str, int] | None = None,
    ) -> list[Claim]:
        capacity = Capacity(
            owner=self.owner,
            interactive_slots=interactive_slots,
            slots=slots,
            room=self.room if room is None else room,
            ordered=self.ordered,
        )
        return await self.store.claim(capacity, now=self.now, lease=self.now + LEASE)

    async def claimed(self, **how: Any) -> list[str]:
        return [claim.delivery.id for claim in await self.claim(**how)]

    async def finish(
        self, claim: Claim, verdict: Verdict = SUCCEEDED, ended: Ended | None = None
    ) -> State | None:
        end = ended or (OK if verdict.state is State.SUCCEEDED else FAILED)
        return await self.store.finish(
            Finish(
                delivery_id=claim.delivery.id,
                owner=claim.owner,
                number=claim.number,
                at=self.now,
                ended=end,
                verdict=verdict,
            )
        )

    async def run(self, verdict: Verdict = SUCCEEDED, ended: Ended | None = None) -> str:
        """Claim the one that is due and finish it."""
        (claim,) = await self.claim()
        await self.finish(claim, verdict, ended)
        return claim.delivery.id

    async def recover(self, *, crashed: bool = False) -> int:
        """Put back what runs and whose lease is over, or all of it: `crashed`."""
        held = await self.store.held()
        lost = [item for item in held if crashed or (item.lease and item.lease < self.now)]
        return len(await self.store.recover(lost, now=self.now))

    async def find(self, delivery_id: str) -> Delivery:
        return await self.store.find(delivery_id)

    async def state(self, delivery_id: str) -> State:
        return (await self.find(delivery_id)).state

    def later(self, seconds: float = 1) -> None:
        self.now += timedelta(seconds=seconds)


def output(text: bytes) -> Output:
    return Output(head=text)


class FaultyStore:
    """A store that counts what is asked of it, and is away when a test says so."""

    def __init__(self, store: DeliveryStore, metrics: Metrics) -> None:
        """`metrics`: those of the store."""
        self._store = store
        self.calls: Counter[str] = Counter()
        self.away: set[str] = set()
        self.error: Exception = StoreUnavailable("the disk is full")
        self.refused: Counter[str] = Counter()
        self.after: dict[str, Callable[[], object]] = {}
        """what else happens just after the first call of a name"""
        self.slow: dict[str, asyncio.Event] = {}
        """calls of these names that have an answer (of something) give it when the event is set"""
        self.metrics = metrics

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._store, name)
        if not asyncio.iscoroutinefunction(real):
            return real

        async def call(*arguments: Any, **named: Any) -> Any:
            self.calls[name] += 1
            if name in self.away:
                self.refused[name] += 1
                with self.metrics.store.timed(name):
                    raise self.error
            answer = await real(*arguments, **named)
            self.after.pop(name, lambda: None)()
            if answer and name in self.slow:
                await self.slow[name].wait()
            return answer

        return call
