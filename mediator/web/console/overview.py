"""The first page: is it well, what waits, what failed."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from aiohttp import web

from mediator.model.deliveries import State
from mediator.storage.port import Search
from mediator.web.console.charts import stacked
from mediator.web.console.guarding import ROOT, redirect
from mediator.web.console.pages import page, pulse_of
from mediator.web.console.throughput import STEP, STEPS, THROUGHPUT, Slot
from mediator.web.health import unready
from mediator.web.services import SERVICES

WIDTH, HEIGHT = 720.0, 120.0
_SHOWN = 5
_STATES = (State.SUCCEEDED, State.CANCELLED, State.DEAD)


async def show_overview(request: web.Request) -> web.Response:
    """What somebody wants to know at 3 a.m."""
    services, pulse = request.app[SERVICES], await pulse_of(request)
    backlog, slots, running, dead, problems = await asyncio.gather(
        services.store.backlog(),
        request.app[THROUGHPUT].slots(),
        services.store.search(Search(state=State.RUNNING, limit=_SHOWN)),
        services.store.search(Search(state=State.DEAD, limit=_SHOWN)),
        unready(services),
    )
    catalog = services.scripts.catalog
    if services.draining:
        problems["mediator"] = "it is shutting down"
    if catalog.problem:
        problems["scripts"] = catalog.problem
    return await page(
        request,
        "overview",
        pulse=pulse,
        backlog=backlog,
        problems=problems,
        scripts=list(catalog.scripts.values()),
        warnings=catalog.warnings,
        running=running,
        dead=dead,
        chart=_chart(slots),
    )


async def lead_to_overview(request: web.Request) -> web.Response:
    """From `/console/`, as people type it."""
    del request
    return redirect(ROOT)


def _chart(slots: list[Slot]) -> dict[str, object]:
    columns = [slot.counts for slot in slots]
    totals = {state: sum(column[state] for column in columns) for state in _STATES}
    hours = _by_hour(slots)
    return {
        "bars": stacked(columns, width=WIDTH, height=HEIGHT, gap=3.0),
        "width": WIDTH,
        "height": HEIGHT,
        "most": max((column.total() for column in columns), default=0),
        "minutes": STEP // timedelta(minutes=1),
        "hours": STEP * STEPS // timedelta(hours=1),
        "begin": slots[0].begin,
        "middle": slots[STEPS // 2].begin,
        "totals": totals,
        "total": sum(totals.values()),
        "states": _STATES,
        "rows": [row for row in hours if row.counts.total()],
    }


def _by_hour(slots: list[Slot]) -> list[Slot]:
    """Two slots in one, for the table; the latest first."""
    pairs = zip(slots[::2], slots[1::2], strict=True)
    return [Slot(begin=a.begin, counts=a.counts + b.counts) for a, b in pairs][::-1]
