"""What every store promises of the deliveries of one event: all of them are kept, or none."""

from __future__ import annotations

import asyncio

import pytest

from mediator.errors import KeyReused, NotFound
from mediator.model.delivery import Repeat
from mediator.storage.interface import DeliveryStore
from tests.support.store import Desk, like, new


async def test_all_are_kept_in_their_order(store: DeliveryStore) -> None:
    handed = [new("a.py"), new("b.py"), new("a.py")]
    accepted = await store.accept_together(handed)
    assert [(a.id, a.repeat) for a in accepted] == [(n.id, Repeat.NEW) for n in handed]
    claims = await Desk(store).claim()
    assert [claim.delivery.id for claim in claims] == [n.id for n in handed]


async def test_when_one_cannot_be_kept_none_is(store: DeliveryStore) -> None:
    before = new()
    await store.accept(before)
    handed = [new("a.py"), new("b.py", idempotency_key=before.idempotency_key), new("a.py")]
    with pytest.raises(KeyReused, match=before.id):
        await store.accept_together(handed)
    for one in handed:
        with pytest.raises(NotFound):
            await store.find(one.id)


async def test_a_group_that_fails_takes_no_neighbour_along(store: DeliveryStore) -> None:
    """Groups that are asked for at once share a transaction, but not their fate."""
    before = new()
    await store.accept(before)
    bad = [new("a.py"), new("a.py", idempotency_key=before.idempotency_key)]
    good, alone = [new("a.py"), new("b.py")], new()
    results = await asyncio.gather(
        store.accept_together(bad),
        store.accept_together(good),
        store.accept(alone),
        return_exceptions=True,
    )
    assert isinstance(results[0], KeyReused)
    for one in (*good, alone):
        assert (await store.find(one.id)).id == one.id
    with pytest.raises(NotFound):
        await store.find(bad[0].id)


async def test_each_is_recognised_by_itself_when_it_comes_again(store: DeliveryStore) -> None:
    first = [new("a.py"), new("b.py")]
    await store.accept_together(first)
    resent = like(first[0], idempotency_key=first[0].idempotency_key)
    added = new("b.py")
    accepted = await store.accept_together([resent, added])
    assert [(a.id, a.repeat) for a in accepted] == [
        (first[0].id, Repeat.RESENT),
        (added.id, Repeat.NEW),
    ]
