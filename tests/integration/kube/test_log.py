"""A container's log, from a server whose connections break."""

from __future__ import annotations

import asyncio
from pathlib import Path

from mediator.kube.log import ContainerLog
from tests.integration.kube.support import Script, client_of, refused, written
from tests.integration.runners.support import until


async def test_a_log_is_read_on_after_a_break_without_losing_or_doubling_a_byte(
    tmp_path: Path,
) -> None:
    steps = [
        refused(400),
        written(b"one\n\0", whole=False),
        refused(502),
        written(b"one\n\0two", whole=False),
        written(b"one\n\0two\nthree", whole=True),
    ]
    heard: list[bytes] = []
    async with client_of(Script(steps), tmp_path) as client:
        log = ContainerLog(client, "script", heard=heard.append)
        ended = asyncio.Event()
        following = asyncio.create_task(log.follow("pod", ended))
        await until(lambda: log.paused)
        ended.set()
        await following
    assert b"".join(heard) == b"one\n\0two\nthree"
    assert not log.missing


async def test_a_log_that_has_gone_is_said_to_be_missing(tmp_path: Path) -> None:
    heard: list[bytes] = []
    async with client_of(
        Script([written(b"one\n", whole=False), refused(404)]), tmp_path
    ) as client:
        log = ContainerLog(client, "script", heard=heard.append)
        await log.follow("pod", asyncio.Event())
    assert (log.missing, b"".join(heard)) == (True, b"one\n")
