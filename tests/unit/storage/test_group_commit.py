"""Many writers, few transactions; and nobody waits for ever."""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import IntegrityError, OperationalError

from mediator.errors import Conflict, MediatorError, StoreUnavailable
from mediator.storage.group_commit import LARGEST_GROUP, GroupCommit

Work = Callable[[Connection], None]


class Database:
    """Transactions on SQLite in memory that can be held up and made to fail."""

    def __init__(self) -> None:
        self._engine = create_engine("sqlite://", connect_args={"check_same_thread": False})
        self.commits = 0
        self.fault: BaseException | None = None
        self.go = threading.Event()
        self.go.set()
        self.entered = threading.Event()

    def transaction(self, work: Work) -> None:
        self.entered.set()
        self.go.wait()
        if self.fault is not None:
            raise self.fault
        with self._engine.begin() as connection:
            work(connection)
        self.commits += 1

    def dispose(self) -> None:
        self._engine.dispose()


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    database = Database()
    yield database
    database.dispose()


@pytest.fixture
async def writer(database: Database) -> AsyncIterator[GroupCommit]:
    writer = GroupCommit(database.transaction)
    writer.start()
    yield writer
    database.go.set()
    await writer.close()


def double(_: Connection, items: Sequence[int]) -> list[int | MediatorError]:
    return [Conflict(f"{item} is odd") if item % 2 else item * 2 for item in items]


def refuse_seven(_: Connection, items: Sequence[int]) -> list[int]:
    if 7 in items:
        raise ValueError("seven")
    return list(items)


async def test_a_lone_write_is_committed_when_it_returns(
    writer: GroupCommit, database: Database
) -> None:
    assert await writer.submit(double, 2) == 4
    assert database.commits == 1


async def held_up(writer: GroupCommit, database: Database) -> asyncio.Task[int]:
    """A write that stays in its transaction until `go`, so that others queue up behind it."""
    database.go.clear()
    database.entered.clear()
    first = asyncio.create_task(writer.submit(double, 0))
    await asyncio.to_thread(database.entered.wait)
    return first


async def queued(*jobs: asyncio.Future[int]) -> None:
    """Every task has come to its `await`, and the turn of the loop has ended."""
    for _ in range(3):
        await asyncio.sleep(0)
    assert not any(job.done() for job in jobs)


async def test_what_queues_up_shares_a_commit(writer: GroupCommit, database: Database) -> None:
    first = await held_up(writer, database)
    rest = [asyncio.create_task(writer.submit(double, 2 * n)) for n in range(100)]
    await queued(*rest)
    database.go.set()
    assert await asyncio.gather(first, *rest) == [0, *(4 * n for n in range(100))]
    assert database.commits == 2


async def test_what_is_asked_in_one_turn_of_the_loop_shares_a_commit(
    writer: GroupCommit, database: Database
) -> None:
    for _ in range(5):
        await asyncio.gather(*(writer.submit(double, 2) for _ in range(16)))
    assert database.commits == 5


async def test_a_group_is_bounded(writer: GroupCommit, database: Database) -> None:
    first = await held_up(writer, database)
    rest = [asyncio.create_task(writer.submit(double, 0)) for _ in range(LARGEST_GROUP + 1)]
    await queued(*rest)
    database.go.set()
    await asyncio.gather(first, *rest)
    assert database.commits == 3


async def test_a_refused_item_is_refused_alone(writer: GroupCommit) -> None:
    results = await asyncio.gather(
        *(writer.submit(double, n) for n in (2, 3, 4)), return_exceptions=True
    )
    assert (results[0], results[2]) == (4, 8)
    assert isinstance(results[1], Conflict)


async def test_an_item_that_breaks_its_statement_fails_alone(
    writer: GroupCommit, database: Database
) -> None:
    first = await held_up(writer, database)
    rest = [asyncio.create_task(writer.submit(refuse_seven, n)) for n in (6, 7, 8)]
    await queued(*rest)
    database.go.set()
    results = await asyncio.gather(first, *rest, return_exceptions=True)
    assert results[:2] == [0, 6]
    assert results[3] == 8
    assert isinstance(results[2], ValueError)


async def test_what_a_failing_item_wrote_is_undone(writer: GroupCommit) -> None:
    def create(connection: Connection, items: Sequence[None]) -> list[None]:
        connection.exec_driver_sql("CREATE TABLE t (n INTEGER PRIMARY KEY)")
        return list(items)

    def insert_twice(connection: Connection, items: Sequence[int]) -> list[None]:
        for item in items:
            for number in (item, item // 2 * 2 + 1):
                connection.exec_driver_sql("INSERT INTO t VALUES (?)", (number,))
        return [None] * len(items)

    def count(connection: Connection, items: Sequence[None]) -> list[int]:
        return [connection.exec_driver_sql("SELECT count(*) FROM t").scalar_one() for _ in items]

    await writer.submit(create, None)
    results = await asyncio.gather(
        *(writer.submit(insert_twice, n) for n in (2, 5)), return_exceptions=True
    )
    assert results[0] is None
    assert isinstance(results[1], IntegrityError)
    assert await writer.submit(count, None) == 2


FAULTS = [
    StoreUnavailable("the disk is full"),
    OperationalError("COMMIT", {}, Exception("disk I/O error")),
    RuntimeError("a bug"),
    SystemExit(1),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
async def test_a_failed_transaction_fails_everyone_and_the_next_one_succeeds(
    writer: GroupCommit, database: Database, fault: BaseException
) -> None:
    database.fault = fault
    results = await asyncio.gather(
        *(writer.submit(double, 2) for _ in range(5)), return_exceptions=True
    )
    assert all(isinstance(result, StoreUnavailable) for result in results)
    database.fault = None
    assert await writer.submit(double, 2) == 4


async def test_everyone_gets_an_error_of_his_own(writer: GroupCommit, database: Database) -> None:
    database.fault = StoreUnavailable("the disk is full")
    first = await held_up(writer, database)
    rest = [asyncio.create_task(writer.submit(double, 2)) for _ in range(50)]
    await queued(*rest)
    database.go.set()
    errors = await asyncio.gather(first, *rest, return_exceptions=True)
    assert len({id(error) for error in errors}) == len(errors)
    assert {str(error) for error in errors} == {"the disk is full"}
    depths = {
        len(traceback.extract_tb(e.__traceback__)) for e in errors if isinstance(e, Exception)
    }
    assert len(depths) == 1, "no traceback grows from caller to caller"


async def test_a_cancelled_caller_does_not_undo_the_write(
    writer: GroupCommit, database: Database
) -> None:
    written: list[int] = []

    def note(_: Connection, items: Sequence[int]) -> list[None]:
        written.extend(items)
        return [None] * len(items)

    first = await held_up(writer, database)
    gone, stays = (asyncio.create_task(writer.submit(note, n)) for n in (1, 2))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    database.go.set()
    await asyncio.gather(first, stays)
    assert written == [1, 2]


async def test_the_writer_survives_a_caller_whose_loop_is_closed(
    writer: GroupCommit, database: Database
) -> None:
    first = await held_up(writer, database)

    def elsewhere() -> None:
        async def ask() -> None:
            asking = asyncio.ensure_future(writer.submit(double, 2))
            await asyncio.sleep(0)
            asking.cancel()

        asyncio.run(ask())

    await asyncio.to_thread(elsewhere)
    database.go.set()
    await first
    assert await writer.submit(double, 2) == 4


class TestClosing:
    async def test_what_was_submitted_is_written_first(
        self, writer: GroupCommit, database: Database
    ) -> None:
        first = await held_up(writer, database)
        rest = [asyncio.create_task(writer.submit(double, 2)) for _ in range(LARGEST_GROUP * 2)]
        await queued(*rest)
        closing = asyncio.create_task(writer.close())
        await asyncio.sleep(0)
        database.go.set()
        await closing
        assert await asyncio.gather(first, *rest) == [0] + [4] * len(rest)

    async def test_what_queued_up_fails_with_the_database(
        self, writer: GroupCommit, database: Database
    ) -> None:
        database.fault = StoreUnavailable("the disk is full")
        first = await held_up(writer, database)
        closing = asyncio.create_task(writer.close())
        await asyncio.sleep(0)
        database.go.set()
        await closing
        with pytest.raises(StoreUnavailable):
            await first

    async def test_nothing_is_taken_afterwards(self, writer: GroupCommit) -> None:
        await writer.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            await writer.submit(double, 2)

    async def test_it_can_be_closed_twice(self, writer: GroupCommit) -> None:
        await asyncio.gather(writer.close(), writer.close())
        await writer.close()

    async def test_nothing_is_taken_before_the_start(self, database: Database) -> None:
        writer = GroupCommit(database.transaction)
        with pytest.raises(StoreUnavailable):
            await writer.submit(double, 2)
        await writer.close()

    async def test_nobody_waits_for_ever_who_submits_meanwhile(self, writer: GroupCommit) -> None:
        answers: list[object] = []

        def elsewhere() -> None:
            async def ask() -> None:
                for _ in range(2000):
                    try:
                        answers.append(await asyncio.wait_for(writer.submit(double, 2), 30))
                    except StoreUnavailable:
                        return

            asyncio.run(ask())

        threads = [asyncio.create_task(asyncio.to_thread(elsewhere)) for _ in range(4)]
        await writer.submit(double, 2)
        await writer.close()
        await asyncio.gather(*threads)
        assert all(answer == 4 for answer in answers)
