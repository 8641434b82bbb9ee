"""A page is whole, or says how far it came; nothing is left out on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import cast

from mediator.model.delivery import Delivery, State
from mediator.storage.interface import DeliveryStore, Search
from mediator.web.console.views import BUDGET, FIRST_STRETCH, DeliveryPage, browse
from tests.unit.dispatch.support import NOW, delivery

MINUTE = timedelta(minutes=1)


@dataclass
class Shelf:
    """A store of deliveries a minute apart, which takes as long to search as a test says."""

    count: int
    dead: frozenset[int] = frozenset()
    seconds: float = 0.0
    time: float = 0.0
    asked: list[Search] = field(default_factory=list)

    def one(self, seq: int) -> Delivery:
        state = State.DEAD if seq in self.dead else State.SUCCEEDED
        return delivery(seq=seq, id=f"d{seq}", state=state, received=NOW + seq * MINUTE)

    async def search(self, wanted: Search) -> list[Delivery]:
        if wanted.floor is not None:
            self.asked.append(wanted)
            self.time += self.seconds
        top = min(wanted.after or self.count + 1, self.count + 1)
        seqs = range(top - 1, max((wanted.floor or 1) - 1, 0), -1)
        if wanted.state is State.DEAD:
            seqs = sorted(self.dead & set(seqs), reverse=True)  # type: ignore[assignment]
        found: list[Delivery] = []
        for seq in seqs:
            one = self.one(seq)
            late = wanted.until is not None and one.received >= wanted.until
            if late or (wanted.since is not None and one.received < wanted.since):
                continue
            found.append(one)
            if len(found) == wanted.limit:
                break
        return found

    async def seq_at(self, at: datetime) -> int:
        return min(max(-((NOW - at) // MINUTE), 1), self.count + 1)

    def timer(self) -> float:
        return self.time


async def look(shelf: Shelf, **wanted: object) -> DeliveryPage:
    search = Search(**{"limit": 5, **wanted})  # type: ignore[arg-type]
    return await browse(cast("DeliveryStore", shelf), search, timer=shelf.timer)


def seqs(found: DeliveryPage) -> list[int]:
    return [item.seq for item in found.items]


async def test_pages_follow_one_another_to_the_end() -> None:
    shelf, after, seen = Shelf(13), None, []
    for _ in range(3):
        found = await look(shelf, after=after)
        seen += seqs(found)
        after = found.after
    assert seen == list(range(13, 0, -1))
    assert after is None


async def test_a_page_that_is_just_full_is_the_last() -> None:
    found = await look(Shelf(5))
    assert seqs(found) == [5, 4, 3, 2, 1]
    assert found.after is None


async def test_an_empty_store_has_nothing() -> None:
    assert await look(Shelf(0)) == DeliveryPage(items=[], after=None)


async def test_what_is_rare_is_found_stretch_by_stretch() -> None:
    shelf = Shelf(10 * FIRST_STRETCH, dead=frozenset({1, 7, 150_000}))
    found = await look(shelf, state=State.DEAD)
    assert seqs(found) == [150_000, 7, 1]
    assert (found.after, found.reached) == (None, None)
    lengths = [cast("int", s.after) - cast("int", s.floor) for s in shelf.asked]
    assert lengths[:3] == [FIRST_STRETCH, 2 * FIRST_STRETCH, 4 * FIRST_STRETCH]


async def test_when_time_is_over_it_says_how_far_it_came_and_goes_on_from_there() -> None:
    shelf = Shelf(10 * FIRST_STRETCH, dead=frozenset({1, 190_000}), seconds=BUDGET / 2.5)
    first = await look(shelf, state=State.DEAD)
    assert seqs(first) == [190_000]
    assert first.after is not None
    assert first.reached == shelf.one(first.after).received
    seen, pages, found = seqs(first), 1, first
    while found.after is not None:
        found = await look(shelf, state=State.DEAD, after=found.after)
        seen, pages = seen + seqs(found), pages + 1
    assert seen == [190_000, 1]
    assert pages > 2


async def test_a_slow_store_is_asked_for_less_at_once() -> None:
    shelf = Shelf(20 * FIRST_STRETCH, seconds=0.2)
    await look(shelf, state=State.DEAD)
    lengths = {cast("int", s.after) - cast("int", s.floor) for s in shelf.asked}
    assert lengths == {FIRST_STRETCH}


async def test_times_bound_what_is_looked_at() -> None:
    shelf = Shelf(100_000)
    since, until = NOW + 50_000 * MINUTE, NOW + 50_003 * MINUTE
    found = await look(shelf, since=since, until=until)
    assert seqs(found) == [50_002, 50_001, 50_000]
    (asked,) = shelf.asked
    assert cast("int", asked.after) - cast("int", asked.floor) < 200


async def test_a_clock_that_was_set_back_a_little_hides_nothing() -> None:
    shelf = Shelf(1000)
    place = shelf.seq_at

    async def amiss(at: datetime) -> int:
        return await place(at) + (40 if at < NOW + 500 * MINUTE else -40)

    shelf.seq_at = amiss  # type: ignore[method-assign]
    found = await look(shelf, since=NOW + 500 * MINUTE, until=NOW + 503 * MINUTE)
    assert seqs(found) == [502, 501, 500]
