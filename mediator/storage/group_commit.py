"""One thread that writes, so that many requests share one transaction and one fsync.

Whoever wants to write hands over an item and the function that writes many such items. The thread
takes everything that has queued up, runs it in one transaction and commits once; then all of them
are told. While the disk is busy with one commit the next group gathers, so a group grows with the
load and a lone request never waits for company.

What is submitted in one turn of an event loop is queued together, at the end of that turn: those
who were told together ask together again, and the first of them must not get a commit of its own.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from mediator.errors import MediatorError, StoreUnavailable

_log = structlog.get_logger()

Item = TypeVar("Item")
Result = TypeVar("Result")
Write = Callable[[Connection, Sequence[Item]], Sequence[Result | MediatorError]]
"""Writes many items at once; an error in the place of a result concerns that item only."""

LARGEST_GROUP = 500
"""Items after which nothing more joins a transaction; bounds how long the first of them waits."""


class GroupCommit:
    """Runs writes from any number of tasks in few transactions.

    `transaction` runs a function in one transaction and commits it, or raises `StoreUnavailable`
    with nothing stored.
    """

    def __init__(
        self,
        transaction: Callable[[Callable[[Connection], None]], None],
        *,
        largest: int = LARGEST_GROUP,
    ) -> None:
        self._largest = largest
        self._transaction = transaction
        self._queue: queue.SimpleQueue[list[_Job] | None] = queue.SimpleQueue()
        self._turns: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._gate = threading.Lock()  # nothing is queued behind the mark that ends the thread
        self._open = False

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()
        self._open = True

    async def submit(self, write: Write[Item, Result], item: Item) -> Result:
        """Write one item; it is committed when this returns.

        Cancelling the caller does not undo the write. Raises `StoreUnavailable`, or what `write`
        gave for this item.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        with self._gate:
            if not self._open:
                raise StoreUnavailable("the store is closed; the mediator is not running")
            if loop not in self._turns:
                self._turns[loop] = []
                loop.call_soon(self._end_turn, loop)
            self._turns[loop].append(_Job(write, item, loop, future))
        return await future

    def _end_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._gate:
            self._enqueue(self._turns.pop(loop, []))

    def _enqueue(self, jobs: list[_Job]) -> None:
        for start in range(0, len(jobs), self._largest):
            self._queue.put(jobs[start : start + self._largest])

    async def close(self) -> None:
        """Write what was submitted, then end the thread."""
        with self._gate:
            if self._open:
                self._open = False
                while self._turns:
                    self._enqueue(self._turns.popitem()[1])
                self._queue.put(None)
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        last = False
        while not last:
            jobs, last = self._gather()
            if jobs:
                _tell(jobs, self._commit(jobs))

    def _gather(self) -> tuple[list[_Job], bool]:
        """What has queued up, at least one; and whether nothing comes after it."""
        jobs: list[_Job] = []
        while len(jobs) < self._largest:
            try:
                turn = self._queue.get(block=not jobs)
            except queue.Empty:
                break
            if turn is None:
                return jobs, True
            jobs += turn
        return jobs, False

    def _commit(self, jobs: Sequence[_Job]) -> Sequence[Any]:
        """A result or an error for each job, in order."""
        results: list[Any] = []

        def work(connection: Connection) -> None:
            results[:] = _run(connection, jobs)

        try:
            self._transaction(work)
        except BaseException as error:  # noqa: BLE001 - this thread serves everybody: it must live
            if not isinstance(error, StoreUnavailable):
                _log.exception("store writer failed")
            return [_failure(error) for _ in jobs]
        return results


@dataclass(frozen=True, slots=True)
class _Job:
    write: Write[Any, Any]
    item: Any
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


def _run(connection: Connection, jobs: Sequence[_Job]) -> list[Any]:
    results: list[Any] = [None] * len(jobs)
    together: dict[Write[Any, Any], list[int]] = {}
    for index, job in enumerate(jobs):
        together.setdefault(job.write, []).append(index)
    for write, indexes in together.items():
        items = [jobs[index].item for index in indexes]
        for index, result in zip(indexes, _write(connection, write, items), strict=True):
            results[index] = result
    return results


def _write(connection: Connection, write: Write[Any, Any], items: Sequence[Any]) -> Sequence[Any]:
    """One failing item fails alone: the others of its kind are written one by one."""
    try:
        with connection.begin_nested():
            return write(connection, items)
    except DBAPIError as error:
        if not isinstance(error, IntegrityError | DataError):
            raise  # the database itself: nobody's write can succeed
        problem: Exception = error
    except Exception as error:  # noqa: BLE001 - belongs to the caller of that item
        problem = error
    if len(items) == 1:
        return [problem]
    return [_write(connection, write, [item])[0] for item in items]


def _failure(cause: BaseException) -> StoreUnavailable:
    """An error for one caller: a shared one would collect the traceback of each who raises it."""
    if isinstance(cause, StoreUnavailable):
        error = StoreUnavailable(cause.detail)
    else:
        error = StoreUnavailable(f"the store failed ({type(cause).__name__}); nothing was stored")
    error.__cause__ = cause
    return error


def _tell(jobs: Sequence[_Job], results: Sequence[Any]) -> None:
    """One wake-up of each event loop for all its jobs."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for job, result in zip(jobs, results, strict=True):
        by_loop.setdefault(job.loop, []).append((job.future, result))
    for loop, pairs in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, pairs)
        except RuntimeError:  # that loop is closed, so nobody waits in it
            _log.warning("written after its caller was gone", items=len(pairs))


def _resolve(pairs: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, result in pairs:
        if future.done():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
