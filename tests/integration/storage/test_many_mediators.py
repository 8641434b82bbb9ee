"""Mediators that do the same thing at the same time, on one database."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import Connection

from mediator.errors import Conflict, MediatorError
from mediator.model.delivery import Accepted, Claim, Repeat, State
from mediator.storage.claim import claim as claim_due
from mediator.storage.interface import Capacity, DeliveryStore, RetentionRule, Search
from mediator.storage.postgres import PostgresDatabase, PostgresStore, Server
from tests.support.store import (
    DEAD,
    LEASE,
    SECOND,
    START,
    Desk,
    again,
    like,
    new,
    ticket,
)

ROUNDS = 40
MEDIATORS = 3


@pytest.fixture
async def stores(database: str) -> AsyncIterator[list[PostgresStore]]:
    found = [PostgresStore(Server(url=database)) for _ in range(MEDIATORS)]
    for store in found:
        await store.start()
    yield found
    for store in found:
        await store.close()


def desks(stores: list[PostgresStore], ordered: frozenset[str] = frozenset()) -> list[Desk]:
    return [Desk(store, owner=f"m{n}", ordered=ordered) for n, store in enumerate(stores)]


class TestAccepting:
    async def test_one_content_is_kept_once(self, stores: list[PostgresStore]) -> None:
        for _ in range(ROUNDS):
            first = new()
            handed = [like(first) for _ in stores]
            answers = await asyncio.gather(
                *(store.accept(one) for store, one in zip(stores, handed, strict=True))
            )
            repeats = sorted(answer.repeat for answer in answers)
            assert repeats == [Repeat.DUPLICATE] * (MEDIATORS - 1) + [Repeat.NEW]
            assert len({answer.id for answer in answers}) == 1
        assert len(await stores[0].search(Search(limit=500))) == ROUNDS

    async def test_one_request_is_kept_once(self, stores: list[PostgresStore]) -> None:
        for _ in range(ROUNDS):
            first = new(interactive=True)
            handed = [like(first, idempotency_key=first.idempotency_key) for _ in stores]
            answers = await asyncio.gather(
                *(store.accept(one) for store, one in zip(stores, handed, strict=True))
            )
            repeats = sorted(answer.repeat for answer in answers)
            assert repeats == [Repeat.NEW] + [Repeat.RESENT] * (MEDIATORS - 1)
        assert len(await stores[0].search(Search(limit=500))) == ROUNDS

    async def test_many_that_cross_each_other_are_all_answered(
        self, stores: list[PostgresStore]
    ) -> None:
        contents = [new() for _ in range(20)]

        async def hand_over(store: DeliveryStore, seed: int) -> list[Accepted]:
            order = random.Random(seed).sample(contents, len(contents))  # noqa: S311
            return await store.accept_together([like(first) for first in order])

        answers = await asyncio.gather(
            *(hand_over(store, seed) for seed in range(8) for store in stores)
        )
        kept = [a for found in answers for a in found if a.repeat is Repeat.NEW]
        assert len(kept) == len(contents)


class TestClaiming:
    async def test_each_delivery_is_claimed_once_and_none_is_left(
        self, stores: list[PostgresStore]
    ) -> None:
        ids = [await Desk(stores[0]).accept() for _ in range(90)]
        claimed: list[str] = []

        async def claim(desk: Desk) -> None:
            while found := await desk.claimed(slots=4):
                claimed.extend(found)

        await asyncio.gather(*map(claim, desks(stores)))
        assert sorted(claimed) == sorted(ids)

    async def test_a_claim_takes_what_others_leave(self, stores: list[PostgresStore]) -> None:
        """Fewer than there are slots for would mean that nothing is left."""
        for _ in range(10):
            for _ in range(12):
                await Desk(stores[0]).accept()
            claims = await asyncio.gather(*(desk.claim(slots=4) for desk in desks(stores)))
            assert [len(found) for found in claims] == [4] * MEDIATORS

    async def test_one_tickets_deliveries_never_run_at_once(
        self, stores: list[PostgresStore], database: str
    ) -> None:
        """The database itself would refuse it, by an index that only this test has."""
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(
                "CREATE UNIQUE INDEX one_runs ON deliveries (script, ticket_id)"
                " WHERE state = 'running'"
            )
        everyone = desks(stores, frozenset({"a.py"}))
        numbers = ["1", "2"]
        ids = [await everyone[0].accept(ticket=ticket(n)) for n in numbers * 4]
        chance = random.Random(7)  # noqa: S311

        async def dispatch(desk: Desk) -> int:
            claims = 0
            for _ in range(60):
                for claim in await desk.claim(slots=2):
                    claims += 1
                    await desk.finish(claim, chance.choice([DEAD, again(desk.now)]))
            return claims

        async def operate(desk: Desk) -> int:
            for _ in range(150):
                with suppress(Conflict):
                    await desk.store.retry(chance.choice(ids), now=desk.now)
            return 0

        claims = await asyncio.gather(
            *map(dispatch, everyone), *(operate(desk) for desk in everyone)
        )
        assert sum(claims) > 50

    async def test_an_earlier_delivery_made_again_waits_for_a_claim_it_cannot_see_yet(
        self, stores: list[PostgresStore]
    ) -> None:
        one, other, _ = desks(stores, frozenset({"a.py"}))
        first, second = [await one.accept(ticket=ticket("7")) for _ in range(2)]
        await one.run(DEAD)
        for _ in range(ROUNDS):
            claims = await asyncio.gather(
                one.claim(slots=1), _made_again(other, first), other.claim(slots=1)
            )
            running = await one.store.search(Search(state=State.RUNNING))
            assert len(running) == 1
            for found in (claims[0], claims[2]):
                for claim in found:
                    desk = one if claim.owner == one.owner else other
                    end = DEAD if claim.delivery.id == first else again(desk.now)
                    await desk.finish(claim, end)
            await _until_ended(other, first)
        assert second

    async def test_no_more_attempts_of_a_script_run_than_its_limit(
        self, stores: list[PostgresStore], database: str
    ) -> None:
        """Also while a claim that another mediator makes is not to be seen yet."""
        one, other, _ = stores
        for _ in range(6):
            await Desk(one).accept()
        entered, go = threading.Event(), threading.Event()
        claims: list[Claim] = []

        def slow(conn: Connection) -> None:
            claims[:] = claim_due(conn, _limited("m0"), now=START, lease=START + LEASE)
            entered.set()
            go.wait(60)

        third = PostgresDatabase(Server(url=database))
        claiming_slowly = asyncio.create_task(asyncio.to_thread(third.write, slow))
        await asyncio.to_thread(entered.wait)
        assert await other.claim(_limited("m1"), now=START, lease=START + LEASE) == []
        go.set()
        await claiming_slowly
        third.close()
        assert len(claims) == 2
        assert await other.claim(_limited("m1"), now=START, lease=START + LEASE) == []
        await Desk(one, owner="m0").finish(claims[0])
        assert len(await other.claim(_limited("m1"), now=START, lease=START + LEASE)) == 1


def _limited(owner: str) -> Capacity:
    """Of a script of which two attempts may run at once, on all mediators."""
    return Capacity(owner=owner, interactive_slots=0, slots=4, room={"a.py": 2}, limits={"a.py": 2})


async def _made_again(desk: Desk, delivery_id: str) -> None:
    with suppress(Conflict):
        await desk.store.retry(delivery_id, now=desk.now)


async def _until_ended(desk: Desk, delivery_id: str) -> None:
    """Whatever of it is left over from a round is run to its end."""
    while not (await desk.state(delivery_id)).ended:
        for claim in await desk.claim(slots=1):
            end = DEAD if claim.delivery.id == delivery_id else again(desk.now)
            await desk.finish(claim, end)


class TestHolding:
    async def test_what_is_lost_is_put_back_once(self, stores: list[PostgresStore]) -> None:
        one, *others = desks(stores)
        for _ in range(30):
            await one.accept()
        await one.claim()
        lost = await one.store.held()
        counts = await asyncio.gather(*(desk.store.recover(lost, now=desk.now) for desk in others))
        assert sum(map(len, counts)) == 30
        losses = {d.losses for d in await one.store.search(Search(limit=500))}
        assert losses == {1}

    async def test_who_was_taken_over_cannot_write_its_result(
        self, stores: list[PostgresStore]
    ) -> None:
        one, other, _ = desks(stores)
        delivery_id = await one.accept()
        (old,) = await one.claim()
        await other.recover(crashed=True)
        (young,) = await other.claim()
        states = await asyncio.gather(one.finish(old, DEAD), other.finish(young))
        assert list(states) == [None, State.SUCCEEDED]
        assert set(await one.store.renew("m0", [delivery_id], lease=one.now)) == {delivery_id}

    async def test_either_the_end_of_an_attempt_counts_or_its_loss(
        self, stores: list[PostgresStore]
    ) -> None:
        one, other, _ = desks(stores)
        for _ in range(ROUNDS):
            delivery_id = await one.accept()
            (claim,) = await one.claim()
            lost = await other.store.held()
            state, fates = await asyncio.gather(
                one.finish(claim), other.store.recover(lost, now=one.now)
            )
            assert (state, len(fates)) in {(State.SUCCEEDED, 0), (None, 1)}
            if fates:
                await one.run()
            assert await one.state(delivery_id) is State.SUCCEEDED


async def test_what_is_made_again_is_not_removed_at_the_same_moment(
    stores: list[PostgresStore],
) -> None:
    one, other, _ = desks(stores)
    later = START + timedelta(days=1)
    kept = RetentionRule(state=State.SUCCEEDED, since=later, most=None, always_since=later)
    for _ in range(ROUNDS):
        delivery_id = await one.accept(deduplicate_since=None)
        await one.run()
        removed, made_again = await asyncio.gather(
            one.store.remove(kept),
            other.store.retry(delivery_id, now=one.now + SECOND),
            return_exceptions=True,
        )
        if isinstance(made_again, MediatorError):
            assert removed == 1
        else:
            assert removed == 0
            assert await one.state(delivery_id) is State.PENDING
            await other.store.cancel(delivery_id, now=one.now, reason="")
