"""No statement walks through what it does not need, however much there is of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from mediator.model.delivery import State
from mediator.storage.interface import RetentionRule, Search
from mediator.storage.sqlite import SqliteStore
from tests.support.engines import on_connections, on_statements
from tests.support.store import DEAD, SECOND, START, Desk, again, new

Act = Callable[[Desk], Coroutine[Any, Any, object]]
BACKLOG = 100_000


class Spy:
    """Remembers every statement, and asks SQLite how it would run it."""

    def __init__(self, path: Path) -> None:
        self.statements: list[tuple[str, Any]] = []
        self._path = path

    def note(self, *call: Any) -> None:
        _, _, statement, parameters, _, many = call
        if statement.startswith(("SELECT", "UPDATE", "DELETE", "INSERT")):
            self.statements.append((statement, parameters[0] if many else parameters))

    def plans(self) -> list[str]:
        connection = sqlite3.connect(self._path)
        lines = [
            line
            for statement, parameters in self.statements
            for *_, line in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
        connection.close()
        return lines


@pytest.fixture
async def spied(path: Path) -> AsyncIterator[tuple[Desk, Spy]]:
    store = SqliteStore(path)
    await store.start()
    desk = Desk(store, ordered=frozenset({"a.py"}))
    for _ in range(10):
        await desk.accept()
        await desk.accept("b.py")
    spy = Spy(path)
    with on_statements(spy.note):
        yield desk, spy
    await store.close()


def _search(**wanted: Any) -> Act:
    async def search(desk: Desk) -> object:
        return await desk.store.search(Search(**wanted))

    search.__name__ = f"search {wanted}"
    return search


async def _accept(desk: Desk) -> object:
    return await desk.store.accept(new())


async def _operate(desk: Desk) -> object:
    delivery_id = await desk.accept()
    await desk.store.cancel(delivery_id, now=desk.now, reason="")
    return await desk.store.retry(delivery_id, now=desk.now)


async def _attempt(desk: Desk) -> object:
    claims = await desk.claim(slots=3)
    await desk.finish(claims[0])
    await desk.finish(claims[1], DEAD)
    return await desk.finish(claims[2], again(desk.now))


async def _keep_house(desk: Desk) -> object:
    claims = await desk.claim(slots=3)
    await desk.store.renew("here", [c.delivery.id for c in claims], lease=desk.now)
    await desk.store.expire(now=desk.now)
    await desk.store.clamp_due({"a.py": desk.now}, now=desk.now)
    return await desk.recover(crashed=True)


async def _next_due(desk: Desk) -> object:
    return await desk.store.next_due(["a.py", "b.py"], after=START)


SEARCHES = [
    _search(script="a.py"),
    _search(ticket="7"),
    _search(state=State.PENDING),
    _search(state=State.RUNNING),
    _search(state=State.DEAD),
    _search(state=State.CANCELLED),
    _search(script="a.py", state=State.DEAD, event="CREATE", after=5),
]


@pytest.mark.parametrize(
    "act",
    [_accept, _attempt, _operate, _keep_house, _next_due, *SEARCHES],
    ids=lambda act: act.__name__.strip("_"),
)
async def test_every_statement_finds_rows_by_an_index(spied: tuple[Desk, Spy], act: Act) -> None:
    desk, spy = spied
    await act(desk)
    plans = spy.plans()
    assert plans
    for line in plans:
        walks = line.startswith(("SCAN deliveries", "SCAN tickets", "SCAN attempts"))
        # A partial index is read whole only for the states it is made of.
        assert not walks or "ix_deliveries_" in line, line


@pytest.mark.parametrize(
    ("act", "index"),
    [
        (_attempt, "ix_deliveries_pending (interactive=? AND script=? AND due<?)"),
        (_attempt, "ix_deliveries_unfinished (ticket_id=? AND script=?)"),
        (_next_due, "ix_deliveries_pending (interactive=? AND script=? AND due>?)"),
        (_accept, "ix_deliveries_content (content=? AND received>?)"),
        (_keep_house, "ix_deliveries_pending (interactive=?)"),
        (_search(state=State.DEAD), "ix_deliveries_dead"),
        (_search(state=State.CANCELLED), "ix_deliveries_cancelled"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__.strip("_"),
)
async def test_it_is_the_index_made_for_it(spied: tuple[Desk, Spy], act: Act, index: str) -> None:
    desk, spy = spied
    await act(desk)
    assert any(index in line for line in spy.plans()), spy.plans()


async def test_the_backlog_is_counted_in_the_indexes_of_its_states(
    spied: tuple[Desk, Spy],
) -> None:
    desk, spy = spied
    await desk.store.backlog()
    _, oldest, running, dead = spy.plans()
    assert "ix_deliveries_waiting" in oldest, "the first entry is the oldest"
    assert "ix_deliveries_running" in running
    assert "ix_deliveries_dead" in dead


async def test_what_waits_is_counted_in_an_index_alone(spied: tuple[Desk, Spy]) -> None:
    desk, spy = spied
    await desk.store.waiting()
    assert spy.plans() == [
        "SEARCH deliveries USING COVERING INDEX ix_deliveries_pending (interactive=?)"
    ]


async def test_the_census_walks_through_the_index_of_each_state_and_nothing_else(
    spied: tuple[Desk, Spy],
) -> None:
    desk, spy = spied
    await desk.store.census(now=desk.now)
    walks = [line for line in spy.plans() if "deliveries" in line]
    assert walks == [
        "SCAN deliveries USING COVERING INDEX ix_deliveries_pending",
        "SCAN deliveries USING INDEX ix_deliveries_waiting",
        "SCAN deliveries USING INDEX ix_deliveries_running",
        "SCAN deliveries USING INDEX ix_deliveries_dead",
        "SCAN deliveries USING COVERING INDEX ix_deliveries_ended",
    ]


async def test_summaries_read_as_much_of_an_index_as_they_tell(spied: tuple[Desk, Spy]) -> None:
    desk, spy = spied
    store = desk.store
    await store.ends(since=START, until=START + SECOND, step=SECOND)
    assert "COVERING INDEX ix_deliveries_ended (state=? AND ended>? AND ended<?)" in spy.plans()[0]
    spy.statements.clear()
    await store.recent(["a.py"], most=5)
    assert spy.plans() == ["SEARCH deliveries USING INDEX ix_deliveries_script (script=?)"]
    spy.statements.clear()
    await store.change_token()
    await store.seq_at(START)
    assert not any("B-TREE" in line for line in spy.plans())


async def test_what_goes_is_found_in_the_order_of_ends(spied: tuple[Desk, Spy]) -> None:
    desk, spy = spied
    for claim in await desk.claim():
        await desk.finish(claim)
    kept = RetentionRule(state=State.SUCCEEDED, since=desk.now, most=5, always_since=desk.now)
    spy.statements.clear()
    assert await desk.store.remove(kept)
    last, *candidates = spy.plans()
    index = "USING COVERING INDEX ix_deliveries_ended (state=? AND ended>?)"
    assert last == f"SEARCH deliveries {index}"
    index = "USING INDEX ix_deliveries_ended (state=? AND ended>? AND ended<?)"
    assert f"SEARCH deliveries {index}" in candidates
    assert not any("SCAN deliveries" in line or "B-TREE" in line for line in candidates)


async def test_the_backlog_of_a_full_script_is_not_walked_through(path: Path) -> None:
    store = SqliteStore(path)
    await store.start()
    desk = Desk(store)
    await desk.accept("a.py")
    _multiply(path, BACKLOG)
    wanted = await desk.accept("b.py", at=START + SECOND)
    desk.later()
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    def watch(connection: sqlite3.Connection) -> None:
        connection.set_progress_handler(count, 10)

    with on_connections(watch):
        assert await desk.claimed(room={"b.py": 1}) == [wanted]
        assert len(await desk.claim(slots=3, room={"a.py": 2, "b.py": 1})) == 2
    assert 0 < steps < 2000, "tens of steps of SQLite's machine"
    await store.close()


def _multiply(path: Path, times: int) -> None:
    """Copies of the only delivery, made by SQLite itself."""
    connection = sqlite3.connect(path)
    names = [row[1] for row in connection.execute("PRAGMA table_info(deliveries)")]
    values = {name: name for name in names} | {
        "seq": "seq + value",
        "id": "deliveries.id || '-' || value",
        "idempotency_key": "idempotency_key || '-' || value",
    }
    numbers = json.dumps(list(range(1, times + 1)))
    connection.execute(
        f"INSERT INTO deliveries ({', '.join(names)})"  # noqa: S608 - names of its own columns
        f" SELECT {', '.join(values[name] for name in names)} FROM deliveries, json_each(?)",
        (numbers,),
    )
    connection.execute("INSERT INTO tickets SELECT seq, x'' FROM deliveries WHERE seq > 1")
    connection.commit()
    connection.close()
