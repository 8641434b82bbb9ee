"""What every store promises: keeping, claiming, recording."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from mediator.errors import KeyReused, NotFound
from mediator.model.delivery import Accepted, Ended, Outcome, Output, Repeat, State, TicketFields
from mediator.storage.interface import DeliveryStore
from mediator.tracing.context import TraceContext
from tests.support.store import (
    DEAD,
    FAILED,
    ROOMY,
    SECOND,
    START,
    Desk,
    again,
    like,
    new,
    ticket,
)

ODD_ARGUMENTS = ("", "two words", "é", "\udcff\udc80", 'quote " back \\ slash', "a\nb")


async def test_a_delivery_is_found_as_it_was_handed_over(store: DeliveryStore) -> None:
    handed = new(
        arguments=ODD_ARGUMENTS,
        variables={"SCW_EVENT": "ADVANCE", "SCW_ODD": "\udcfe"},
        ticket=TicketFields(id="7", subject="Zugang für Ä", step="Review"),
        body=bytes(range(256)) * 100,
        trace=TraceContext(trace_id="a" * 32, span_id="b" * 16, flags="01", state="c=d"),
    )
    accepted = await store.accept(handed)
    assert accepted == Accepted(id=handed.id, repeat=Repeat.NEW)
    found = await store.find(handed.id)
    assert (found.script, found.event, found.arguments) == ("a.py", "ADVANCE", ODD_ARGUMENTS)
    assert dict(found.variables) == handed.variables
    assert (found.ticket, found.trace) == (handed.ticket, handed.trace)
    assert (found.state, found.attempts, found.attempts_made) == (State.PENDING, (), 0)
    assert found.received == found.due == found.budget_start == START, "to the microsecond"
    claim = (await Desk(store).claim())[0]
    assert (claim.body, claim.delivery.trace) == (handed.body, handed.trace)


async def test_an_empty_body_is_a_body(desk: Desk) -> None:
    await desk.accept(body=b"")
    (claim,) = await desk.claim()
    assert claim.body == b""


async def test_an_unknown_delivery_is_not_found(store: DeliveryStore) -> None:
    with pytest.raises(NotFound, match="no delivery nothing"):
        await store.find("nothing")
    with pytest.raises(NotFound):
        await store.retry("nothing", now=START)
    with pytest.raises(NotFound):
        await store.cancel("nothing", now=START, reason="")


class TestRepeats:
    async def test_a_resent_request_is_the_first_delivery(self, store: DeliveryStore) -> None:
        first = new()
        await store.accept(first)
        answer = await store.accept(like(first, idempotency_key=first.idempotency_key))
        assert answer == Accepted(id=first.id, repeat=Repeat.RESENT)

    async def test_a_resent_request_is_the_first_delivery_even_when_that_is_dead(
        self, desk: Desk
    ) -> None:
        first = new()
        await desk.store.accept(first)
        await desk.run(DEAD)
        answer = await desk.store.accept(like(first, idempotency_key=first.idempotency_key))
        assert answer == Accepted(id=first.id, repeat=Repeat.RESENT)

    async def test_the_same_key_from_another_signer_is_another_delivery(
        self, store: DeliveryStore
    ) -> None:
        first = new()
        await store.accept(first)
        answer = await store.accept(new(idempotency_key=first.idempotency_key, key_id="other"))
        assert answer.repeat is Repeat.NEW

    async def test_a_key_used_for_other_content_is_refused_and_nothing_is_kept(
        self, store: DeliveryStore
    ) -> None:
        first = new()
        await store.accept(first)
        other = new(idempotency_key=first.idempotency_key)
        with pytest.raises(KeyReused, match=first.id):
            await store.accept(other)
        with pytest.raises(NotFound):
            await store.find(other.id)

    async def test_the_same_content_is_a_duplicate_within_the_window(
        self, store: DeliveryStore
    ) -> None:
        first = new()
        await store.accept(first)
        answer = await store.accept(like(first, at=START + timedelta(hours=23)))
        assert answer == Accepted(id=first.id, repeat=Repeat.DUPLICATE)

    async def test_the_same_content_is_new_after_the_window(self, store: DeliveryStore) -> None:
        first = new()
        await store.accept(first)
        answer = await store.accept(like(first, at=START + timedelta(hours=24)))
        assert answer.repeat is Repeat.NEW

    @pytest.mark.parametrize(
        "change",
        [
            {"script": "b.py"},
            {"event": "CREATE"},
            {"arguments": ("x",)},
            {"body": b"<other/>"},
        ],
        ids=["script", "event", "arguments", "body"],
    )
    async def test_other_content_is_new(
        self, store: DeliveryStore, change: dict[str, object]
    ) -> None:
        first = new(body=b"<ticket_info/>")
        await store.accept(first)
        same = {"script": first.script, "body": first.body}
        assert (await store.accept(new(**{**same, **change}))).repeat is Repeat.NEW  # type: ignore[arg-type]

    async def test_running_and_succeeded_ones_count(self, desk: Desk) -> None:
        first = new()
        await desk.store.accept(first)
        (claim,) = await desk.claim()
        assert (await desk.store.accept(like(first))).repeat is Repeat.DUPLICATE
        await desk.finish(claim)
        assert (await desk.store.accept(like(first))).repeat is Repeat.DUPLICATE

    async def test_dead_ones_do_not_count(self, desk: Desk) -> None:
        first = new()
        await desk.store.accept(first)
        await desk.run(DEAD)
        assert (await desk.store.accept(like(first))).repeat is Repeat.NEW

    async def test_cancelled_ones_do_not_count(self, desk: Desk) -> None:
        first = new()
        await desk.store.accept(first)
        await desk.store.cancel(first.id, now=START, reason="by ops")
        assert (await desk.store.accept(like(first))).repeat is Repeat.NEW

    async def test_interactive_ones_are_never_duplicates(self, store: DeliveryStore) -> None:
        first = new(interactive=True)
        await store.accept(first)
        assert (await store.accept(like(first))).repeat is Repeat.NEW
        trigger = like(first, interactive=False, deduplicate_since=START - timedelta(days=1))
        assert (await store.accept(trigger)).repeat is Repeat.NEW, "nor is a trigger theirs"

    async def test_nothing_is_a_duplicate_without_a_window(self, store: DeliveryStore) -> None:
        first = new()
        await store.accept(first)
        assert (await store.accept(like(first, deduplicate_since=None))).repeat is Repeat.NEW

    async def test_repeats_are_told_within_one_transaction_too(self, store: DeliveryStore) -> None:
        first = new()
        batch = [
            first,
            like(first),
            like(first, idempotency_key=first.idempotency_key),
            new(idempotency_key=first.idempotency_key),
            like(first, interactive=True, deduplicate_since=None),
            new(),
        ]
        answers = await asyncio.gather(*map(store.accept, batch), return_exceptions=True)
        told = [a.repeat if isinstance(a, Accepted) else type(a) for a in answers]
        assert told == [
            Repeat.NEW,
            Repeat.DUPLICATE,
            Repeat.RESENT,
            KeyReused,
            Repeat.NEW,
            Repeat.NEW,
        ]

    async def test_each_hand_over_has_its_own_window_within_one_transaction(
        self, store: DeliveryStore
    ) -> None:
        old, short = new(), timedelta(seconds=5)
        await store.accept(old)
        at = START + timedelta(minutes=1)
        wide, narrow = await asyncio.gather(
            store.accept(like(old, at=at)),
            store.accept(like(old, at=at, deduplicate_since=at - short)),
        )
        assert (wide.repeat, narrow.repeat) == (Repeat.DUPLICATE, Repeat.NEW)


class TestClaiming:
    async def test_a_claim_opens_the_next_attempt(self, desk: Desk) -> None:
        delivery_id = await desk.accept()
        desk.later()
        (claim,) = await desk.claim()
        assert (claim.delivery.id, claim.number, claim.owner) == (delivery_id, 1, "here")
        found = await desk.find(delivery_id)
        assert (found.state, found.due) == (State.RUNNING, None)
        (attempt,) = found.attempts
        assert (attempt.number, attempt.started) == (1, desk.now)
        assert (attempt.ended, attempt.outcome) == (None, None)

    async def test_what_runs_is_not_claimed_again(self, desk: Desk) -> None:
        await desk.accept()
        await desk.claim()
        assert await desk.claim() == []

    async def test_two_claims_at_once_share_nothing(self, desk: Desk) -> None:
        ids = {await desk.accept() for _ in range(10)}
        both = await asyncio.gather(*(desk.claimed(slots=5) for _ in range(2)))
        assert sorted([*both[0], *both[1]]) == sorted(ids)

    async def test_the_longest_due_of_all_scripts_come_first(self, desk: Desk) -> None:
        order = ["a.py", "b.py", "b.py", "a.py", "b.py"]
        ids = []
        for script in order:
            ids.append(await desk.accept(script))
            desk.later()
        assert await desk.claimed(slots=3) == ids[:3]
        assert await desk.claimed() == ids[3:]

    async def test_equally_due_ones_come_in_arrival_order(self, desk: Desk) -> None:
        ids = [await desk.accept(script) for script in ("b.py", "a.py", "b.py")]
        assert await desk.claimed() == ids

    async def test_a_later_due_time_goes_behind_a_later_arrival(self, desk: Desk) -> None:
        first = await desk.accept()
        (claim,) = await desk.claim()
        await desk.finish(claim, again(desk.now + 5 * SECOND))
        desk.later(2)
        second = await desk.accept()
        desk.later(10)
        assert await desk.claimed() == [second, first]

    async def test_what_is_not_due_is_not_claimed_a_microsecond_early(self, desk: Desk) -> None:
        await desk.accept()
        desk.now -= timedelta(microseconds=1)
        assert await desk.claim() == []
        desk.now += timedelta(microseconds=1)
        assert len(await desk.claim()) == 1

    async def test_no_script_gets_more_than_its_room(self, desk: Desk) -> None:
        for _ in range(3):
            await desk.accept("a.py")
        later = await desk.accept("b.py", at=START + SECOND)
        desk.later()
        claims = await desk.claim(slots=10, room={"a.py": 2, "b.py": 1})
        assert [claim.delivery.script for claim in claims] == ["a.py", "a.py", "b.py"]
        assert claims[-1].delivery.id == later

    async def test_a_script_without_room_waits(self, desk: Desk) -> None:
        await desk.accept("a.py")
        await desk.accept("unknown.py")
        assert await desk.claim(room={"a.py": 0}) == []
        assert await desk.claim(room={}) == []

    async def test_slots_of_the_two_kinds_are_apart(self, desk: Desk) -> None:
        triggers = [await desk.accept() for _ in range(3)]
        people = [await desk.accept(interactive=True, at=START + SECOND) for _ in range(3)]
        desk.later()
        assert await desk.claimed(slots=0, interactive_slots=2) == people[:2]
        assert await desk.claimed(slots=2, interactive_slots=0) == triggers[:2]
        assert await desk.claimed() == [people[2], triggers[2]]

    async def test_interactive_ones_get_a_scarce_room_first(self, desk: Desk) -> None:
        await desk.accept()
        person = await desk.accept(interactive=True, at=START + SECOND)
        desk.later()
        assert await desk.claimed(room={"a.py": 1}) == [person]

    async def test_nobody_runs_what_nobody_waits_for(self, desk: Desk) -> None:
        await desk.accept(interactive=True, expires=START + SECOND)
        desk.later()
        assert await desk.claim() == []

    async def test_the_next_due_time_is_that_of_scripts_with_room(self, desk: Desk) -> None:
        for script, wait in (("a.py", 30), ("b.py", 10), ("c.py", 5)):
            await desk.accept(script, at=START + wait * SECOND)
        next_due = desk.store.next_due
        assert await next_due(["a.py", "b.py"], after=START) == START + 10 * SECOND
        assert await next_due(["a.py", "b.py"], after=START + 10 * SECOND) == START + 30 * SECOND
        assert await next_due(["a.py"], after=START + 30 * SECOND) is None
        assert await next_due([], after=START) is None


class TestOrder:
    @pytest.fixture
    def desk(self, store: DeliveryStore) -> Desk:
        return Desk(store, ordered=frozenset({"a.py"}))

    async def test_one_tickets_deliveries_run_one_after_another(self, desk: Desk) -> None:
        ids = [await desk.accept(ticket=ticket("7")) for _ in range(3)]
        for expected in ids:
            assert await desk.run() == expected

    async def test_a_retry_is_made_before_the_next_starts(self, desk: Desk) -> None:
        first, second = [await desk.accept(ticket=ticket("7")) for _ in range(2)]
        assert await desk.run(again(desk.now + 60 * SECOND)) == first
        desk.later(30)
        assert await desk.claim() == []
        desk.later(30)
        assert await desk.run() == first
        assert await desk.run() == second

    async def test_a_dead_one_holds_nobody_up(self, desk: Desk) -> None:
        first, second = [await desk.accept(ticket=ticket("7")) for _ in range(2)]
        assert await desk.run(DEAD) == first
        assert await desk.run() == second

    async def test_a_cancelled_one_holds_nobody_up(self, desk: Desk) -> None:
        first, second = [await desk.accept(ticket=ticket("7")) for _ in range(2)]
        await desk.store.cancel(first, now=desk.now, reason="by ops")
        assert await desk.run() == second

    async def test_what_an_operator_repeats_waits_for_what_runs(self, desk: Desk) -> None:
        first, second = [await desk.accept(ticket=ticket("7")) for _ in range(2)]
        await desk.run(DEAD)
        (running,) = await desk.claim()
        assert running.delivery.id == second
        await desk.store.retry(first, now=desk.now)
        assert await desk.claim() == []
        await desk.finish(running)
        assert await desk.run() == first

    async def test_other_tickets_and_other_scripts_do_not_wait(self, desk: Desk) -> None:
        ids = [
            await desk.accept(ticket=ticket("7")),
            await desk.accept(ticket=ticket("8")),
            await desk.accept("b.py", ticket=ticket("7")),
            await desk.accept("b.py", ticket=ticket("7")),
        ]
        assert await desk.claimed() == ids, "b.py has no order"

    async def test_deliveries_without_a_ticket_number_do_not_wait(self, desk: Desk) -> None:
        ids = [await desk.accept(ticket=ticket(None)) for _ in range(2)]
        assert await desk.claimed() == ids

    async def test_a_person_does_not_wait_for_the_triggers_of_a_ticket(self, desk: Desk) -> None:
        await desk.accept(ticket=ticket("7"))
        person = await desk.accept(ticket=ticket("7"), interactive=True)
        assert await desk.claimed(slots=0) == [person]


class TestRecording:
    async def test_an_attempt_is_found_as_it_ended(self, desk: Desk) -> None:
        await desk.accept()
        (claim,) = await desk.claim()
        desk.later(3)
        ended = Ended(
            outcome=Outcome.SIGNAL,
            signal=11,
            reason="ended by signal 11",
            stdout=Output(head=b"head\xff\x00", tail=b"\xfetail", omitted=2**40),
            stderr=Output(head=b"all"),
        )
        assert await desk.finish(claim, again(desk.now + SECOND), ended) is State.PENDING
        found = await desk.find(claim.delivery.id)
        assert (found.state, found.due) == (State.PENDING, desk.now + SECOND)
        assert (found.failures, found.last_error) == (1, "ended with exit code 1")
        (attempt,) = found.attempts
        assert (attempt.outcome, attempt.signal, attempt.exit_code) == (Outcome.SIGNAL, 11, None)
        assert (attempt.ended, attempt.reason) == (desk.now, ended.reason)
        assert (attempt.stdout, attempt.stderr) == (ended.stdout, ended.stderr)

    async def test_success_ends_the_delivery(self, desk: Desk) -> None:
        await desk.accept()
        await desk.run(again(desk.now))
        desk.later()
        delivery_id = await desk.run()
        found = await desk.find(delivery_id)
        assert (found.state, found.due, found.ended) == (State.SUCCEEDED, None, desk.now)
        assert (found.last_error, found.attempts_made) == ("", 2)
        assert [attempt.outcome for attempt in found.attempts] == [Outcome.FAILED, Outcome.OK]

    async def test_death_keeps_the_reason(self, desk: Desk) -> None:
        await desk.accept()
        found = await desk.find(await desk.run(DEAD))
        assert (found.state, found.ended, found.failures) == (State.DEAD, desk.now, 1)
        assert found.last_error == "no attempt is left"

    @pytest.mark.parametrize("text", ["\udcff in a path", "a NUL \x00 byte", "é"])
    async def test_a_reason_of_any_bytes_is_recorded(self, desk: Desk, text: str) -> None:
        await desk.accept()
        ended = Ended(outcome=Outcome.NOT_STARTED, reason=text)
        found = await desk.find(await desk.run(DEAD, ended))
        shown = found.attempts[0].reason
        assert shown == text.replace("\udcff", "\\udcff").replace("\x00", "\\x00")

    async def test_a_second_report_of_one_attempt_is_late(self, desk: Desk) -> None:
        await desk.accept()
        (claim,) = await desk.claim()
        both = await asyncio.gather(desk.finish(claim), desk.finish(claim, DEAD))
        assert list(both) == [State.SUCCEEDED, None]
        assert await desk.finish(claim) is None

    async def test_an_earlier_attempt_of_the_same_owner_is_fenced_off(self, desk: Desk) -> None:
        await desk.accept()
        (first,) = await desk.claim()
        await desk.finish(first, again(desk.now))
        (second,) = await desk.claim()
        assert await desk.finish(first, DEAD) is None
        assert await desk.finish(second) is State.SUCCEEDED

    async def test_another_owner_is_fenced_off(self, desk: Desk) -> None:
        await desk.accept()
        (lost,) = await desk.claim()
        other = Desk(desk.store, owner="there", now=desk.now + 100 * SECOND)
        await other.recover()
        (taken,) = await other.claim()
        assert await desk.finish(lost) is None
        assert await desk.state(lost.delivery.id) is State.RUNNING
        assert await other.finish(taken) is State.SUCCEEDED
        outcomes = [a.outcome for a in (await desk.find(lost.delivery.id)).attempts]
        assert outcomes == [Outcome.LOST, Outcome.OK]

    async def test_many_ends_in_one_transaction_keep_apart(self, desk: Desk) -> None:
        for _ in range(20):
            await desk.accept()
        claims = await desk.claim()
        verdicts = [(DEAD, FAILED) if i % 2 else (again(START), FAILED) for i in range(20)]
        states = await asyncio.gather(
            *(desk.finish(c, *v) for c, v in zip(claims, verdicts, strict=True))
        )
        assert states == [verdict.state for verdict, _ in verdicts]
        for claim, state in zip(claims, states, strict=True):
            assert await desk.state(claim.delivery.id) is state


async def test_the_backlog_counts_what_is_open(desk: Desk) -> None:
    empty = await desk.store.backlog()
    assert (empty.pending, empty.running, empty.dead) == (0, 0, 0)
    assert empty.oldest_pending is None
    await desk.accept()
    await desk.run(DEAD)
    await desk.accept()
    await desk.run()
    await desk.accept()
    await desk.claim()
    desk.later()
    waits = desk.now
    await desk.accept()
    await desk.accept(at=waits + SECOND)
    full = await desk.store.backlog()
    assert (full.pending, full.running, full.dead) == (2, 1, 1)
    assert full.oldest_pending == waits


async def test_a_probe_changes_nothing(desk: Desk) -> None:
    delivery_id = await desk.accept()
    before = await desk.find(delivery_id)
    await desk.store.probe()
    assert await desk.find(delivery_id) == before
    assert len(await desk.claim(slots=ROOMY)) == 1
