"""Any sequence of what can happen to deliveries, against a model of a few lines."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from mediator.errors import Conflict
from mediator.model.delivery import LEGAL, Claim, NewDelivery, Repeat, State
from mediator.storage.interface import DeliveryStore, Search
from mediator.storage.memory import MemoryStore
from mediator.storage.postgres import PostgresStore, Server
from mediator.storage.sqlite import SqliteStore
from mediator.storage.transitions import MOST_LOSSES
from tests.support.postgresql import Postgresql
from tests.support.store import DEAD, LEASE, SUCCEEDED, Desk, again, like, new, ticket

T = TypeVar("T")
ORDERED = "a.py"
ROOM = {"a.py": 3, "b.py": 2}


@dataclass(frozen=True)
class Known:
    """A delivery as the model sees it."""

    new: NewDelivery
    seq: int
    state: State = State.PENDING
    due: datetime | None = None
    expires: datetime | None = None
    lease: datetime | None = None
    attempts: int = 0
    failures: int = 0
    losses: int = 0
    stop: bool = False

    def claimable(self, now: datetime) -> bool:
        if self.state is not State.PENDING or self.due is None:
            return False
        due = self.new.interactive or self.due <= now  # who waits is always due
        return due and (self.expires is None or self.expires > now)

    def blocks(self, other: Known) -> bool:
        same = (self.new.script, self.new.ticket.id, self.new.interactive) == (
            other.new.script,
            other.new.ticket.id,
            other.new.interactive,
        )
        if self.seq == other.seq or not same or self.new.ticket.id is None:
            return False
        earlier = self.seq < other.seq and self.state is State.PENDING
        return earlier or self.state is State.RUNNING


class StoreMachine(RuleBasedStateMachine):
    """One store, driven by rules; after each, everything in it is compared."""

    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self._runner = self._stack.enter_context(asyncio.Runner())
        self.store = self.made()
        self.wait(self.store.start())
        self.desk = Desk(self.store, ordered=frozenset({ORDERED}), room=ROOM)
        self.model: dict[str, Known] = {}

    def made(self) -> DeliveryStore:
        raise NotImplementedError

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def teardown(self) -> None:
        self.wait(self.store.close())
        self._stack.close()

    def change(self, delivery_id: str, **fields: Any) -> None:
        known = self.model[delivery_id]
        after = replace(known, **fields)
        if after.state is not known.state:
            assert after.state in LEGAL[known.state]
        self.model[delivery_id] = after

    @initialize()
    def one(self) -> None:
        self.accept("a.py", "1", interactive=False)

    @rule(
        script=st.sampled_from(["a.py", "b.py"]),
        number=st.sampled_from(["1", "2", None]),
        interactive=st.booleans(),
    )
    def accept(self, script: str, number: str | None, *, interactive: bool) -> None:
        expires = self.desk.now + timedelta(seconds=20) if interactive else None
        handed = new(
            script,
            at=self.desk.now,
            ticket=ticket(number),
            interactive=interactive,
            expires=expires,
        )
        assert self.wait(self.store.accept(handed)).repeat is Repeat.NEW
        seq = self.wait(self.store.find(handed.id)).seq
        self.model[handed.id] = Known(handed, seq, due=handed.received, expires=expires)

    @rule(data=st.data())
    def hand_over_again(self, data: st.DataObject) -> None:
        first = self.model[data.draw(st.sampled_from(sorted(self.model)))]
        second = like(first.new, at=self.desk.now, expires=first.new.expires)
        answer = self.wait(self.store.accept(second))
        gone = first.new.interactive or first.state in {State.DEAD, State.CANCELLED}
        repeats = [
            known
            for known in self.model.values()
            if known.new.content == second.content
            and not known.new.interactive
            and known.state not in {State.DEAD, State.CANCELLED}
        ]
        if repeats and not second.interactive:
            assert answer.repeat is Repeat.DUPLICATE
            assert answer.id == min(repeats, key=lambda known: known.seq).new.id
            return
        assert gone
        assert answer.repeat is Repeat.NEW
        seq = self.wait(self.store.find(second.id)).seq
        self.model[second.id] = Known(second, seq, due=second.received, expires=second.expires)

    @rule(target=claims, slots=st.integers(0, 4), interactive_slots=st.integers(0, 2))
    def claim(self, slots: int, interactive_slots: int) -> Any:
        running = [k.new.script for k in self.model.values() if k.state is State.RUNNING]
        room = {script: n - running.count(script) for script, n in ROOM.items()}
        expected = self.expected_claims(slots, interactive_slots, dict(room))
        claims = self.wait(self.desk.claim(slots, interactive_slots, room))
        assert [claim.delivery.id for claim in claims] == expected
        for claim in claims:
            known = self.model[claim.delivery.id]
            assert claim.body == known.new.body
            self.change(
                claim.delivery.id,
                state=State.RUNNING,
                due=None,
                lease=self.desk.now + LEASE,
                attempts=known.attempts + 1,
            )
            assert claim.number == known.attempts + 1
        return multiple(*claims)

    def expected_claims(self, slots: int, people: int, room: dict[str, int]) -> list[str]:
        """As of before the claim: what waits for another waits for the next claim."""
        chosen: list[str] = []
        for interactive, free in ((True, people), (False, slots)):
            heads = [
                known
                for known in self.model.values()
                if known.new.interactive is interactive
                and known.claimable(self.desk.now)
                and not (
                    known.new.script == ORDERED
                    and any(other.blocks(known) for other in self.model.values())
                )
            ]
            taken = 0
            for known in sorted(heads, key=lambda k: (k.due, k.seq)):
                if taken < free and room[known.new.script] > 0:
                    taken += 1
                    room[known.new.script] -= 1
                    chosen.append(known.new.id)
        return chosen

    @rule(claim=consumes(claims), verdict=st.sampled_from(["succeeded", "dead", "again"]))
    def finish(self, claim: Claim, verdict: str) -> None:
        known = self.model[claim.delivery.id]
        held = known.state is State.RUNNING and known.attempts == claim.number
        due = self.desk.now + timedelta(seconds=5)
        asked = {"succeeded": SUCCEEDED, "dead": DEAD, "again": again(due)}[verdict]
        state = self.wait(self.desk.finish(claim, asked))
        if not held:
            assert state is None
            return
        stopped = known.stop and verdict == "again"
        expected = State.CANCELLED if stopped else asked.state
        assert state is expected
        self.change(
            claim.delivery.id,
            state=expected,
            due=due if expected is State.PENDING else None,
            lease=None,
            stop=False,
            failures=known.failures + asked.charged,
        )

    @rule(seconds=st.integers(1, 40))
    def time_passes(self, seconds: int) -> None:
        self.desk.later(seconds)

    @rule()
    def renew(self) -> None:
        running = [i for i, known in self.model.items() if known.state is State.RUNNING]
        lease = self.desk.now + LEASE
        stopped = self.wait(self.store.renew("here", running, lease=lease))
        assert set(stopped) == {i for i in running if self.model[i].stop}
        for delivery_id in running:
            self.change(delivery_id, lease=lease)

    @rule(crashed=st.booleans())
    def recover(self, *, crashed: bool) -> None:
        now = self.desk.now
        lost = [
            known
            for known in self.model.values()
            if known.state is State.RUNNING and (crashed or (known.lease and known.lease < now))
        ]
        assert self.wait(self.desk.recover(crashed=crashed)) == len(lost)
        for known in lost:
            losses = known.losses + 1
            state = State.DEAD if losses >= MOST_LOSSES else State.PENDING
            state = State.CANCELLED if known.stop else state
            due = now if state is State.PENDING else None
            self.change(known.new.id, state=state, due=due, lease=None, stop=False, losses=losses)

    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        delivery_id = data.draw(st.sampled_from(sorted(self.model)))
        asked = self.store.retry(delivery_id, now=self.desk.now)
        if self.model[delivery_id].state is State.RUNNING:
            with pytest.raises(Conflict):
                self.wait(asked)
            return
        self.wait(asked)
        self.change(
            delivery_id,
            state=State.PENDING,
            due=self.desk.now,
            expires=None,
            failures=0,
            losses=0,
        )

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        delivery_id = data.draw(st.sampled_from(sorted(self.model)))
        asked = self.store.cancel(delivery_id, now=self.desk.now, reason="by ops")
        state = self.model[delivery_id].state
        if state.ended:
            with pytest.raises(Conflict):
                self.wait(asked)
            return
        self.wait(asked)
        if state is State.RUNNING:
            self.change(delivery_id, stop=True)
        else:
            self.change(delivery_id, state=State.CANCELLED, due=None)

    @rule()
    def expire(self) -> None:
        late = [
            known.new.id
            for known in self.model.values()
            if known.state is State.PENDING and known.expires and known.expires <= self.desk.now
        ]
        assert len(self.wait(self.store.expire(now=self.desk.now))) == len(late)
        for delivery_id in late:
            self.change(delivery_id, state=State.CANCELLED, due=None)

    @invariant()
    def nothing_is_lost(self) -> None:
        found = {d.id: d for d in self.wait(self.store.search(Search(limit=500)))}
        assert set(found) == set(self.model)
        for delivery_id, known in self.model.items():
            seen = found[delivery_id]
            assert (seen.state, seen.due) == (known.state, known.due)
            assert (seen.attempts_made, seen.failures) == (known.attempts, known.failures)
            assert (seen.losses, seen.ended is None) == (known.losses, not known.state.ended)
            numbers = [attempt.number for attempt in seen.attempts]
            assert numbers == list(range(1, known.attempts + 1))
            still = [attempt.number for attempt in seen.attempts if attempt.outcome is None]
            assert still == ([known.attempts] if known.state is State.RUNNING else [])


class MemoryMachine(StoreMachine):
    def made(self) -> DeliveryStore:
        return MemoryStore()


class SqliteMachine(StoreMachine):
    def made(self) -> DeliveryStore:
        directory = self._stack.enter_context(tempfile.TemporaryDirectory())
        return SqliteStore(Path(directory) / "mediator.db")


class PostgresqlMachine(StoreMachine):
    server: Postgresql

    def made(self) -> DeliveryStore:
        return PostgresStore(Server(url=self._stack.enter_context(self.server.database())))


MACHINES = {"memory": MemoryMachine, "sqlite": SqliteMachine, "postgresql": PostgresqlMachine}


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_a_store_does_what_the_model_does(
    machine: type[StoreMachine], postgresql: Postgresql
) -> None:
    PostgresqlMachine.server = postgresql
    often = settings(
        max_examples=15,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=often)
