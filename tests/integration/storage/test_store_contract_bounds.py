"""What every store promises to who bounds it."""

from __future__ import annotations

import pytest

from mediator.errors import KeyReused
from mediator.model.delivery import Accepted, Repeat
from mediator.storage.interface import DeliveryStore
from tests.support.store import DEAD, SECOND, START, Desk, again, like, new


class TestWaiting:
    async def test_pending_deliveries_are_counted_script_by_script(self, desk: Desk) -> None:
        assert await desk.store.waiting() == {}
        await desk.accept("a.py")
        await desk.accept("a.py")
        await desk.accept("b.py")
        assert await desk.store.waiting() == {"a.py": 2, "b.py": 1}

    async def test_only_what_waits_is_counted(self, desk: Desk) -> None:
        await desk.accept("a.py", interactive=True)
        await desk.accept("b.py")
        (claim,) = await desk.claim(room={"b.py": 1})
        assert await desk.store.waiting() == {}, "one is interactive, one runs"
        await desk.finish(claim, again(START + SECOND))
        assert await desk.store.waiting() == {"b.py": 1}


class TestRecognising:
    async def test_it_says_what_accepting_would_and_keeps_nothing(
        self, store: DeliveryStore
    ) -> None:
        first, second, unknown = new(), new(), new()
        await store.accept(first)
        await store.accept(second)
        resent = like(first, idempotency_key=first.idempotency_key)
        assert await store.recognise([resent, like(second), unknown]) == [
            Accepted(id=first.id, repeat=Repeat.RESENT),
            Accepted(id=second.id, repeat=Repeat.DUPLICATE),
            None,
        ]
        assert await store.waiting() == {"a.py": 2}

    async def test_what_died_is_no_duplicate(self, desk: Desk) -> None:
        first = new()
        await desk.store.accept(first)
        await desk.run(DEAD)
        assert await desk.store.recognise([like(first)]) == [None]

    async def test_a_key_with_other_content_is_refused(self, store: DeliveryStore) -> None:
        first = new()
        await store.accept(first)
        with pytest.raises(KeyReused):
            await store.recognise([new(idempotency_key=first.idempotency_key)])


async def test_free_space_is_a_number_of_bytes_or_unknown(store: DeliveryStore) -> None:
    free = await store.free()
    assert free is None or free > 0
