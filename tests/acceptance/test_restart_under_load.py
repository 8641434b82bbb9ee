"""Restarts while tickets come in: nothing is lost, and nothing runs twice.

The callers do as the shim does: a connection each, and the same request again under the same
Idempotency-Key when they are refused, or hung up on before an answer.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uuid_utils

from tests.support.conditions import eventually
from tests.support.mediator import Client, Handover, Mediator
from tests.support.sockets import connect, head, read_answer

pytestmark = pytest.mark.timeout(300)
"""Several starts one after another take long on a busy machine."""

CALLERS = 16
RESTARTS = 3
COUNT = """#!/bin/sh
echo "$MEDIATOR_TICKET_ID" >> {runs}
"""


@dataclass
class Load:
    """Callers that hand over one ticket after the other until told to stop."""

    url: str
    accepted: set[str] = field(default_factory=set)
    """tickets"""
    put_off: Counter[str] = field(default_factory=Counter)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    _numbers: int = 0

    async def call(self) -> None:
        while not self.stop.is_set():
            self._numbers += 1
            await self.hand_over(str(self._numbers))

    async def hand_over(self, ticket: str) -> None:
        """Until it is accepted."""
        body = f"<ticket_info><id>{ticket}</id></ticket_info>".encode()
        handover = Handover(script="count.sh", body=body, idempotency_key=uuid_utils.uuid4().hex)
        while ticket not in self.accepted:
            try:
                reader, writer = await connect(self.url)
            except ConnectionRefusedError:
                self.put_off["refused"] += 1
                await asyncio.sleep(0.01)
                continue
            try:
                headers = {**handover.signed(), "Content-Length": str(len(body))}
                writer.write(head("POST", handover.target, headers.items()) + body)
                answer = await read_answer(reader)
            except (ConnectionError, asyncio.IncompleteReadError):
                self.put_off["hung up on"] += 1
                continue
            finally:
                writer.close()
            if answer.status == 503:
                self.put_off["503"] += 1
                await asyncio.sleep(0.01)
                continue
            assert answer.status == 202, answer
            self.accepted.add(ticket)


def fixed_port(mediator: Mediator) -> None:
    """The same one after every restart."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    mediator.configure({**mediator.settings, "http": {"port": port}})


async def restart(mediator: Mediator, load: Load) -> None:
    before = len(load.accepted)
    mediator.signal(signal.SIGTERM)
    assert await asyncio.to_thread(mediator.wait) == 0
    await asyncio.to_thread(mediator.start)

    async def more() -> bool:
        return len(load.accepted) > before + 2 * CALLERS

    await eventually(more)


async def test_nothing_is_lost_and_nothing_runs_twice(tmp_path: Path) -> None:
    mediator, runs = Mediator(tmp_path), tmp_path / "runs"
    mediator.script("count.sh", COUNT.format(runs=runs))
    fixed_port(mediator)
    with mediator:
        load = Load(mediator.url)
        async with asyncio.TaskGroup() as callers:
            for _ in range(CALLERS):
                callers.create_task(load.call())
            for _ in range(RESTARTS):
                await restart(mediator, load)
            load.stop.set()
        async with Client(mediator.url) as client:

            async def left() -> int:
                status = (await client.get("/v1/status")).json()
                return int(status["pending"] + status["running"])

            await eventually(left, until=lambda count: count == 0)
        ran = Counter(runs.read_text().split())
    assert ran == Counter(load.accepted)
    assert load.put_off.total() > 0
