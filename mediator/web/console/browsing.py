"""Looking through deliveries so that a page comes soon, however many there are.

An index serves a script, a ticket, and the rarer states; it does not serve every mixture of
filters, and an index for each would be paid for by every hand-over. So a search goes back through
the deliveries stretch by stretch and stops when its page is full or its time is over. Then it says
how far it came, and goes on from there when asked. Nothing is left out, and nothing is counted.

Where times are given, the stretches begin and end about there: arrival order is the order of times
unless a clock was set back, and `_MARGIN` makes up for what clocks usually do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from time import monotonic

from mediator.model.deliveries import Delivery
from mediator.storage.port import DeliveryStore, Search

BUDGET = 0.7
"""Seconds after which no further stretch is begun."""
FIRST_STRETCH = 20_000
"""Deliveries that are looked at first; then twice as many as long as that is quick."""
_QUICK = 0.1
_MARGIN = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """One page of deliveries."""

    items: list[Delivery]
    after: int | None
    """go on behind this `seq`; None: there is nothing more"""
    reached: datetime | None = None
    """how far back it was looked when time was over before the page was full"""


async def browse(
    store: DeliveryStore, wanted: Search, *, timer: Callable[[], float] = monotonic
) -> Found:
    """The next page of what is wanted, or as much of it as time allows."""
    began, limit = timer(), wanted.limit
    top, bottom = await _ends(store, wanted)
    items: list[Delivery] = []
    length = FIRST_STRETCH
    while top > bottom:
        floor, looked = max(bottom, top - length), timer()
        # One more than fits tells whether there is a next page.
        more = limit + 1 - len(items)
        items += await store.search(replace(wanted, limit=more, after=top, floor=floor))
        if len(items) > limit:
            return Found(items=items[:limit], after=items[limit - 1].seq)
        top, now = floor, timer()
        if top > bottom and now - began > BUDGET:
            return Found(items=items, after=top, reached=await _time_at(store, top))
        length = length * 2 if now - looked < _QUICK else max(length // 2, FIRST_STRETCH)
    return Found(items=items, after=None)


async def _ends(store: DeliveryStore, wanted: Search) -> tuple[int, int]:
    """Behind which `seq` to begin, and the last one to look at."""
    newest = await store.search(Search(limit=1))
    top = newest[0].seq + 1 if newest else 1
    if wanted.after is not None:
        top = min(top, wanted.after)
    if wanted.until is not None:
        top = min(top, await store.place(wanted.until + _MARGIN))
    bottom = 1 if wanted.since is None else await store.place(wanted.since - _MARGIN)
    return top, bottom


async def _time_at(store: DeliveryStore, seq: int) -> datetime | None:
    found = await store.search(Search(limit=1, after=seq + 1))
    return found[0].received if found else None
