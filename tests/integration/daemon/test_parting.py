"""Listening ends without a reset for anybody whose connection was complete."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from mediator.daemon.http_server import Listener, accepted, keep_out
from tests.support.sockets import connect, head, read_answer

REQUEST = head("GET", "/", [])


async def hello(_: web.Request) -> web.Response:
    return web.Response(body=b"hello")


@pytest.fixture
async def listener() -> AsyncIterator[tuple[Listener, str]]:
    app = web.Application()
    app.router.add_get("/", hello)
    made = Listener(app=app, host="127.0.0.1", port=0, key="http.port")
    yield made, await made.open()
    await made.close()


async def test_who_waits_to_be_accepted_is_answered(listener: tuple[Listener, str]) -> None:
    made, url = listener
    parts = urlsplit(url)
    # While this runs, the event loop accepts nobody.
    waiting = [socket.create_connection((parts.hostname, parts.port)) for _ in range(50)]
    for connection in waiting:
        connection.sendall(REQUEST)
    closing = asyncio.create_task(made.close())
    for connection in waiting:
        reader, writer = await asyncio.open_connection(sock=connection)
        assert (await read_answer(reader)).body == b"hello"
        writer.close()
    await closing


async def test_who_has_connected_may_still_ask(listener: tuple[Listener, str]) -> None:
    made, url = listener
    reader, writer = await connect(url)
    writer.write(REQUEST[:5])
    closing = asyncio.create_task(made.close())
    writer.write(REQUEST[5:])
    assert (await read_answer(reader)).body == b"hello"
    writer.close()
    await closing
    with pytest.raises(ConnectionRefusedError):
        await connect(url)


def test_nobody_new_gets_in_while_those_who_wait_are_let_in() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()) as waiting,
        socket.socket() as late,
    ):
        keep_out(listening)
        late.settimeout(0.1)
        with pytest.raises(TimeoutError):
            late.connect(listening.getsockname())
        (connection,) = accepted(listening)
        with connection:
            connection.sendall(b"welcome")
            assert waiting.recv(7) == b"welcome"
        assert accepted(listening) == []
