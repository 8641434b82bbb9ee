"""The page of metrics is there whatever else is not, and costs no more than it may."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from mediator.dispatch.slots import Slots
from mediator.errors import StoreUnavailable
from mediator.metrics import Metrics
from mediator.model.delivery import Census
from mediator.model.signatures import Key, Verifier
from mediator.settings.schema import Store
from mediator.storage.memory import MemoryStore
from mediator.web.app import make_health
from mediator.web.backpressure import Backpressure
from mediator.web.middleware import handing_over, problems
from mediator.web.services import SERVICES, Services
from tests.support.store import FaultyStore, new
from tests.unit.dispatch.support import Clock, Scripts, script

STORE = {"probe", "census", "size", "free"}


@dataclass
class Slow:
    """Takes as long to count as a test says, by the clock of the test."""

    store: Any
    clock: Clock
    took: timedelta = timedelta(0)

    async def census(self, *, now: datetime) -> Census:
        found: Census = await self.store.census(now=now)
        self.clock.time += self.took
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


@dataclass
class Site:
    """The health application on a real port, over a store that a test takes away."""

    services: Services
    faulty: FaultyStore
    slow: Slow
    clock: Clock
    session: aiohttp.ClientSession = field(repr=False)
    url: str = ""

    async def value(self, name: str, **labels: str) -> float:
        async with self.session.get(f"{self.url}/metrics") as answer:
            assert answer.status == 200
        value = self.services.metrics.registry.get_sample_value(name, labels)
        assert value is not None, name
        return value


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    clock, metrics = Clock(), Metrics()
    memory = MemoryStore(metrics=metrics)
    await memory.start()
    faulty = FaultyStore(memory, metrics)
    store: Any = Slow(faulty, clock)

    async def writable() -> str:
        try:
            await store.probe()
        except StoreUnavailable as error:
            return error.detail
        return ""

    services = Services(
        store=store,
        scripts=Scripts.of(script("a.py"), script("b.py", problem="it is broken")),
        verifier=Verifier([Key(id="k", secret=b"k" * 40)], window=timedelta(seconds=1)),
        holders=(),
        metrics=metrics,
        clock=clock,
        body_limit=100,
        deduplicate=timedelta(0),
        backpressure=Backpressure(store, Store(), clock),
        slots=Slots(trigger=1, interactive=1),
        checks={"store": writable},
    )
    runner = web.AppRunner(make_health(services))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    async with aiohttp.ClientSession() as session:
        yield Site(services, faulty, store, clock, session, f"http://{host}:{port}")
    await runner.cleanup()
    await memory.close()


async def test_without_the_store_the_rest_is_shown_and_so_is_that_it_is_away(site: Site) -> None:
    await site.faulty.accept(new())
    assert await site.value("mediator_ready", part="store") == 1
    assert await site.value("mediator_deliveries_pending") == 1
    site.faulty.away = STORE
    site.clock.later(60)
    assert await site.value("mediator_ready", part="store") == 0
    assert await site.value("mediator_deliveries_pending") == 1, "as it was"
    assert math.isnan(await site.value("mediator_store_size_bytes"))
    assert math.isnan(await site.value("mediator_store_free_bytes"))
    assert await site.value("mediator_store_errors_total") > 0
    assert await site.value("mediator_scripts", ready="true") == 1


async def test_a_long_count_is_made_for_a_tenth_of_the_time_only(site: Site) -> None:
    site.slow.took = timedelta(seconds=2)
    for _ in range(3):
        await site.value("mediator_deliveries", state="pending")
    assert site.faulty.calls["census"] == 1
    site.clock.later(19)
    await site.value("mediator_deliveries", state="pending")
    assert site.faulty.calls["census"] == 1
    site.clock.later(2)
    await site.value("mediator_deliveries", state="pending")
    assert site.faulty.calls["census"] == 2


async def test_scripts_are_shown_one_by_one(site: Site) -> None:
    assert await site.value("mediator_script_ready", script="a.py") == 1
    assert await site.value("mediator_script_ready", script="b.py") == 0
    assert await site.value("mediator_script_timeout_seconds", script="a.py") == 300


async def test_a_mediator_that_goes_down_takes_nothing_in(site: Site) -> None:
    assert await site.value("mediator_ready", part="intake") == 1
    site.services.draining = True
    assert await site.value("mediator_ready", part="intake") == 0


async def test_a_hand_over_that_meets_a_fault_of_the_mediator_is_counted(site: Site) -> None:
    async def crash(request: web.Request) -> web.Response:
        raise RuntimeError(request.path)

    app = web.Application(middlewares=[problems])
    app[SERVICES] = site.services
    app.router.add_post("/crash", handing_over(crash))
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    async with site.session.post(f"http://{host}:{port}/crash") as answer:
        assert answer.status == 500
    await runner.cleanup()
    labels = {"status": "500", "reason": "crash"}
    assert await site.value("mediator_requests_rejected_total", **labels) == 1
    assert await site.value("mediator_handover_duration_seconds_count", answer="refused") == 1
