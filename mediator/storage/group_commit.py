"""One thread that writes, so that many requests share one transaction and one fsync.

Whoever wants to write hands over an item and the function that writes many such items. The thread
takes everything that has queued up, runs it in one transaction and commits once; then all of them
are told. While the disk is busy with one commit the next group gathers, so a group grows with the
load and a lone request never waits for company.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from mediator.errors import MediatorError, StoreUnavailable

Item = TypeVar("Item")
Result = TypeVar("Result")
Write = Callable[[Connection, Sequence[Item]], Sequence[Result | MediatorError]]
"""Writes many items at once; an error in the place of a result concerns that item only."""

LARGEST_GROUP = 500
"""Items in one transaction; bounds how long the first of them waits."""


@dataclass(frozen=True, slots=True)
class _Job:
    write: Write[Any, Any]
    item: Any
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


class GroupCommit:
    """Runs writes from any number of tasks in few transactions.

    `transaction` runs a function in one transaction and commits it, or raises `StoreUnavailable`
    with nothing stored.
    """

    def __init__(self, transaction: Callable[[Callable[[Connection], None]], None]) -> None:
        self._transaction = transaction
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._closed = False

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    async def submit(self, write: Write[Item, Result], item: Item) -> Result:
        """Write one item; it is committed when this returns.

        Cancelling the caller does not undo the write. Raises `StoreUnavailable`, or what `write`
        gave for this item.
        """
        if self._closed:
            raise StoreUnavailable("the store is closed because the mediator is shutting down")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._queue.put(_Job(write, item, loop, future))
        return await future

    async def close(self) -> None:
        """Write what was submitted, then end the thread."""
        self._closed = True
        if self._thread.is_alive():
            self._queue.put(None)
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            jobs, last = self._gather(first)
            _tell(jobs, self._commit(jobs))
            if last:
                return

    def _gather(self, first: _Job) -> tuple[list[_Job], bool]:
        jobs = [first]
        while len(jobs) < LARGEST_GROUP:
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return jobs, True
            jobs.append(job)
        return jobs, False

    def _commit(self, jobs: Sequence[_Job]) -> Sequence[Any]:
        """A result or an error for each job, in order."""
        results: list[Any] = []

        def work(connection: Connection) -> None:
            results[:] = _run(connection, jobs)

        try:
            self._transaction(work)
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to the callers
            return [error] * len(jobs)
        return results


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


def _tell(jobs: Sequence[_Job], results: Sequence[Any]) -> None:
    """One wake-up of each event loop for all its jobs."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for job, result in zip(jobs, results, strict=True):
        by_loop.setdefault(job.loop, []).append((job.future, result))
    for loop, pairs in by_loop.items():
        loop.call_soon_threadsafe(_resolve, pairs)


def _resolve(pairs: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, result in pairs:
        if future.done():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
