"""The PostgreSQL database: its schema, its sessions, and what becomes of lost connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Connection, text

from mediator.errors import StoreUnavailable
from mediator.model.delivery import Repeat, State
from mediator.storage.interface import Search
from mediator.storage.postgres import SILENCE, PostgresDatabase, PostgresStore, Server
from tests.support.conditions import eventually
from tests.support.engines import on_commits, on_statements
from tests.support.postgresql import Postgresql, ask
from tests.support.proxy import Proxy
from tests.support.store import Desk, like, new


@asynccontextmanager
async def started(url: str, *, silence: float = SILENCE) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(Server(url=url, silence=silence))
    await store.start()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def shared(database: str) -> AsyncIterator[PostgresStore]:
    async with started(database) as store:
        yield store


def cut_off(url: str) -> None:
    """As a restart of the server, or a firewall that forgets, cuts off all who are connected."""
    ask(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )


class TestSessions:
    def test_a_commit_is_on_disk_also_where_the_server_would_not_wait_for_it(
        self, postgresql: Postgresql
    ) -> None:
        with postgresql.database() as url:
            name = sql.Identifier(url.rpartition("/")[2])
            postgresql.run(sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(name))
            assert ask(url, "SHOW synchronous_commit") == [("off",)]
            with Server(url=url).connect() as connection:
                assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)

    def test_a_choice_of_the_server_that_is_stronger_stays(self, postgresql: Postgresql) -> None:
        with postgresql.database() as url:
            name = sql.Identifier(url.rpartition("/")[2])
            postgresql.run(
                sql.SQL("ALTER DATABASE {} SET synchronous_commit = remote_apply").format(name)
            )
            with Server(url=url).connect() as connection:
                assert connection.execute("SHOW synchronous_commit").fetchone() == ("remote_apply",)

    def test_nobody_holds_a_lock_for_long(self, database: str) -> None:
        with Server(url=database).connect() as connection:
            for name, limit in (
                ("statement_timeout", "8s"),
                ("idle_in_transaction_session_timeout", "10s"),
            ):
                asked = sql.SQL("SHOW {}").format(sql.Identifier(name))
                assert connection.execute(asked).fetchone() == (limit,)

    def test_what_the_url_says_wins(self) -> None:
        conninfo = Server(url="postgresql://u@h/db?connect_timeout=30&sslmode=require").conninfo
        assert "connect_timeout=30" in conninfo
        assert "sslmode=require" in conninfo
        assert "tcp_user_timeout=10000" in conninfo

    def test_the_password_is_asked_for_every_connection(self, database: str) -> None:
        asked: list[None] = []

        def password() -> str:
            asked.append(None)
            return "secret"

        server = Server(url=database, password=password)
        for _ in range(2):
            server.connect().close()
        assert len(asked) == 2


async def test_many_hand_overs_share_few_commits(shared: PostgresStore) -> None:
    commits: list[Connection] = []
    with on_commits(commits.append):
        await asyncio.gather(*(shared.accept(new()) for _ in range(300)))
    assert 0 < len(commits) <= 30
    assert len(await shared.search(Search(limit=500))) == 300


class TestConnections:
    async def test_a_connection_that_was_lost_meanwhile_is_made_again(
        self, shared: PostgresStore, database: str
    ) -> None:
        desk = Desk(shared)
        first = await desk.accept()
        cut_off(database)
        second = await desk.accept()
        cut_off(database)
        assert [d.id for d in await shared.search(Search())] == [second, first]

    async def test_a_server_that_is_down_is_said_at_once_and_used_again_when_it_is_back(
        self, shared: PostgresStore, postgresql: Postgresql
    ) -> None:
        desk = Desk(shared)
        first = await desk.accept()
        postgresql.kill()
        for asked in (shared.accept(new()), shared.search(Search()), shared.probe()):
            with pytest.raises(StoreUnavailable, match="nothing was stored"):
                await asked
        postgresql.start()
        second = await desk.accept()
        assert sorted(await desk.claimed()) == sorted([first, second])

    async def test_a_start_waits_for_a_server_that_is_not_there_yet(
        self, database: str, postgresql: Postgresql
    ) -> None:
        postgresql.kill()
        starting = asyncio.create_task(_start_and_close(database))
        postgresql.start()
        await starting

    async def test_a_start_gives_up_and_says_why(self) -> None:
        server = Server(url="postgresql://mediator@127.0.0.1:1/x")
        store = PostgresStore(server, start_patience=0.1)
        with pytest.raises(StoreUnavailable, match=r"cannot be used now: .*refused"):
            await store.start()
        await store.close()

    async def test_a_network_that_stands_still_is_noticed(
        self, database: str, postgresql: Postgresql
    ) -> None:
        async with wired(database, postgresql, silence=0.5) as (proxy, store):
            desk = Desk(store)
            first = await desk.accept()
            proxy.hold()
            answers = await asyncio.gather(
                store.accept(new()), store.search(Search()), return_exceptions=True
            )
            proxy.go_on()
            assert [type(answer) for answer in answers] == [StoreUnavailable] * 2
            second = await eventually(lambda: _accepted(desk))
            assert {first, second} <= {d.id for d in await store.search(Search())}

    async def test_a_commit_whose_answer_was_lost_is_asked_about(
        self, database: str, postgresql: Postgresql
    ) -> None:
        async with wired(database, postgresql) as (proxy, store):
            desk = Desk(store)
            proxy.cut_after = b"COMMIT"
            delivery_id = await desk.accept()
            proxy.cut_after = b"COMMIT"
            (claim,) = await desk.claim()
            proxy.cut_after = b"COMMIT"
            assert await desk.finish(claim) is State.SUCCEEDED
            assert proxy.cut == 3
            assert [d.id for d in await store.search(Search())] == [delivery_id]

    async def test_what_cannot_be_asked_about_is_neither_lost_nor_doubled(
        self, database: str, postgresql: Postgresql
    ) -> None:
        async with wired(database, postgresql) as (proxy, store):
            handed = new()
            proxy.cut_after, proxy.refuses_then = b"COMMIT", True
            with pytest.raises(StoreUnavailable, match="whether it is stored is not known"):
                await store.accept(handed)
            proxy.refuses = False
            answer = await store.accept(like(handed, idempotency_key=handed.idempotency_key))
            assert (answer.id, answer.repeat) == (handed.id, Repeat.RESENT)
            assert [d.state for d in await store.search(Search())] == [State.PENDING]

    async def test_a_transaction_that_the_server_ended_is_made_again(self, database: str) -> None:
        """Before its commit: nothing of it can have been stored."""
        runs: list[object] = []

        def work(connection: Connection) -> None:
            runs.append("begun")
            if len(runs) == 1:
                cut_off(database)
            runs.append(connection.execute(text("SELECT 7")).scalar_one())

        writer = PostgresDatabase(Server(url=database))
        await asyncio.to_thread(writer.write, work)
        writer.close()
        assert runs == ["begun", "begun", 7]


@asynccontextmanager
async def wired(
    database: str, postgresql: Postgresql, *, silence: float = SILENCE
) -> AsyncIterator[tuple[Proxy, PostgresStore]]:
    async with Proxy(postgresql.port) as proxy:
        url = database.replace(str(postgresql.port), str(proxy.port))
        async with started(url + "?connect_timeout=2", silence=silence) as store:
            yield proxy, store


async def _start_and_close(url: str) -> None:
    async with started(url):
        pass


async def _accepted(desk: Desk) -> str:
    try:
        return await desk.accept()
    except StoreUnavailable:
        return ""


async def test_a_claim_does_not_walk_through_the_backlog(
    shared: PostgresStore, database: str
) -> None:
    statements: list[tuple[str, dict[str, object]]] = []

    def note(*call: Any) -> None:
        _, _, statement, parameters, _, _ = call
        if "json_each_text" in statement:
            statements.append((statement, parameters))

    desk = Desk(shared, ordered=frozenset({"a.py"}))
    for _ in range(3):
        await desk.accept()
    ask(
        database,
        "INSERT INTO deliveries SELECT seq + 1000 * n, seq || '-' || n, script, event, arguments,"
        " variables, ticket_id || n, ticket, interactive, state, received, due, ended, expires,"
        " key_id, idempotency_key || n, content, budget_start, attempts_made, failures, losses,"
        " last_error, owner, lease, stop_asked FROM deliveries, generate_series(1, 7000) AS n",
    )
    ask(database, "ANALYZE")
    with on_statements(note):
        assert len(await desk.claim(slots=3, interactive_slots=0)) == 3
        await shared.next_due(["a.py", "b.py"], after=desk.now)
    assert len(statements) == 2
    with psycopg.connect(database) as connection:
        for statement, parameters in statements:
            plan = connection.execute(f"EXPLAIN {statement}".encode(), parameters).fetchall()
            lines = "\n".join(line for (line,) in plan)
            assert "ix_deliveries_pending" in lines
            assert "Seq Scan" not in lines


class TestNotices:
    @pytest.fixture
    async def other(self, database: str) -> AsyncIterator[PostgresStore]:
        async with started(database) as store:
            yield store

    async def test_work_that_one_takes_in_wakes_the_other(
        self, shared: PostgresStore, other: PostgresStore
    ) -> None:
        await _settled(shared, other)
        waiting = asyncio.create_task(other.notices.wait_for_work(3600))
        await Desk(shared).accept()
        async with asyncio.timeout(10):
            await waiting

    async def test_only_who_takes_such_work_is_woken(
        self, shared: PostgresStore, other: PostgresStore
    ) -> None:
        await _settled(shared, other)
        asked: list[tuple[str, bool]] = []

        def wanted(script: str, interactive: bool) -> bool:
            asked.append((script, interactive))
            return False

        other.notices.want(wanted)
        waiting = asyncio.create_task(other.notices.wait_for_work(3600))
        await Desk(shared).accept("b.py", interactive=True)
        await eventually(lambda: _now(asked))
        assert asked == [("b.py", True)]
        assert not waiting.done()
        waiting.cancel()

    async def test_an_end_is_told_to_who_waits_elsewhere(
        self, shared: PostgresStore, other: PostgresStore
    ) -> None:
        await _settled(shared, other)
        desk = Desk(shared)
        delivery_id = await desk.accept()
        with other.notices.watch(delivery_id) as ended:
            await desk.run()
            async with asyncio.timeout(10):
                await ended.wait()

    async def test_who_runs_it_elsewhere_is_told_to_stop(
        self, shared: PostgresStore, other: PostgresStore
    ) -> None:
        await _settled(shared, other)
        stopped: list[str] = []
        other.notices.on_stop(stopped.append)
        delivery_id = await Desk(shared).accept()
        await Desk(other).claim()
        await shared.cancel(delivery_id, now=Desk(shared).now, reason="by ops")
        await eventually(lambda: _now(stopped))
        assert stopped == [delivery_id]

    async def test_who_was_cut_off_listens_again_and_looks_for_what_was_missed(
        self, shared: PostgresStore, other: PostgresStore, database: str
    ) -> None:
        await _settled(shared, other)
        with other.notices.watch("missed") as ended:
            cut_off(database)
            async with asyncio.timeout(30):
                await ended.wait()
        await other.notices.wait_for_work(0)
        waiting = asyncio.create_task(other.notices.wait_for_work(3600))
        await Desk(shared).accept()
        async with asyncio.timeout(10):
            await waiting


async def _now(things: Sequence[object]) -> bool:
    return bool(things)


async def _settled(*stores: PostgresStore) -> None:
    """Once all listen, nothing is left to look for."""
    for store in stores:
        await store.notices.wait_for_work(30)
