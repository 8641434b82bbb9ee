"""Notices between mediators, by PostgreSQL's LISTEN and NOTIFY.

What one mediator tells is gathered for a moment and sent in one statement. A notice is only a
hint: it holds ids and names of scripts, one that is lost costs a second or two, and after a
connection was lost everybody looks again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import psycopg
import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential_jitter

from mediator.errors import StoreUnavailable
from mediator.storage.notices import Notices

_log = structlog.get_logger()

CHANNEL = "mediator"
GATHERING = 0.01
"""Seconds in which notices gather before they are sent."""
LARGEST = 7000
"""Characters of one notice; the server takes fewer than 8000 bytes."""
CHECK = 15.0
"""Seconds after which a silent connection is asked whether it is still there."""
_ANSWER = 10.0

Item = list[Any]
"""`["work", script, interactive]`, `["ended", id]` or `["stop", id]`"""


class PostgresNotices:
    """Tells those who wait here, and through the database those who wait elsewhere."""

    def __init__(
        self,
        notices: Notices,
        *,
        name: str,
        send: Callable[[str], Awaitable[None]],
        listen: Callable[[str], Awaitable[psycopg.AsyncConnection[Any]]],
    ) -> None:
        """`name`: this mediator's, whose own notices are not news to it.

        `send` sends a notice, `listen` makes a connection that hears a channel.
        """
        self._open = listen
        self._notices = notices
        self._name = name
        self._send = send
        self._items: dict[str, None] = {}
        self._told = asyncio.Event()
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    def start(self) -> None:
        """Listen, and send what is told, until `close`."""
        self._tasks = (
            asyncio.create_task(self._listen(), name="store-listening"),
            asyncio.create_task(self._tell(), name="store-notifications"),
        )
        for task in self._tasks:
            task.add_done_callback(_say_if_dead)

    async def close(self) -> None:
        """End both."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def work(self, script: str | None = None, *, interactive: bool = False) -> None:
        """Something of `script` may be due; None: something may have become due anywhere."""
        self._notices.work(script, interactive=interactive)
        self._add("work", script, interactive)

    def ended(self, delivery_ids: Iterable[str]) -> None:
        """These deliveries ended."""
        ids = list(delivery_ids)
        self._notices.ended(ids)
        for delivery_id in ids:
            self._add("ended", delivery_id)

    def stop(self, delivery_id: str) -> None:
        """Whoever runs this delivery is to stop it."""
        self._notices.stop(delivery_id)
        self._add("stop", delivery_id)

    def _add(self, *item: Any) -> None:
        self._items[json.dumps(item, separators=(",", ":"))] = None
        self._told.set()

    async def _tell(self) -> None:
        while True:
            await self._told.wait()
            await asyncio.sleep(GATHERING)
            self._told.clear()
            items, self._items = self._items, {}
            for payload in payloads(self._name, items):
                try:
                    await self._send(payload)
                except StoreUnavailable as error:
                    _log.warning("notice not sent", reason=error.detail)

    async def _listen(self) -> None:
        trying = AsyncRetrying(
            retry=retry_if_exception_type((psycopg.Error, OSError, StoreUnavailable)),
            wait=wait_exponential_jitter(multiplier=0.1, max=5),
            before_sleep=_not_heard,
        )
        while True:
            connection: psycopg.AsyncConnection[Any] = await trying(self._open, CHANNEL)
            try:
                await self._hear(connection)
            except (psycopg.Error, OSError) as error:
                _log.warning("notices lost", reason=" ".join(str(error).split()))
            finally:
                await connection.close()

    async def _hear(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._notices.look_again()  # what was told while nobody listened
        while True:
            async for notice in connection.notifies(timeout=CHECK):
                self.heard(notice.payload)
            async with asyncio.timeout(_ANSWER):  # a TimeoutError is an OSError
                await connection.execute("SELECT 1")

    def heard(self, payload: str) -> None:
        """Pass on what another mediator tells; what cannot be read is of another version."""
        try:
            name, *items = json.loads(payload)
            if name != self._name:
                for kind, *what in items:
                    self._pass_on(kind, what)
        except (ValueError, TypeError):
            _log.warning("notice not understood", characters=len(payload))

    def _pass_on(self, kind: str, what: list[Any]) -> None:
        if kind == "work":
            script, interactive = what
            self._notices.work(script, interactive=interactive)
        elif kind == "ended":
            self._notices.ended(what)
        elif kind == "stop":
            (delivery_id,) = what
            self._notices.stop(delivery_id)


def payloads(name: str, items: Iterable[str]) -> Iterator[str]:
    """As few notices as hold all items, each with the name of who tells them."""
    head = json.dumps(name)
    parts: list[str] = [head]
    size = len(head)
    for item in items:
        if size + len(item) > LARGEST and len(parts) > 1:
            yield f"[{','.join(parts)}]"
            parts, size = [head], len(head)
        parts.append(item)
        size += len(item) + 1
    yield f"[{','.join(parts)}]"


def _not_heard(call: RetryCallState) -> None:
    problem = call.outcome and call.outcome.exception()
    _log.warning("notices cannot be heard", reason=" ".join(str(problem).split()))


def _say_if_dead(task: asyncio.Task[None]) -> None:
    """A fault here: everybody still looks by time, only later."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("part died", part=task.get_name(), exc_info=error)
