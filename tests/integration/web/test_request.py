"""A ticket that comes too slowly is given up, and holds nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from mediator.web.middleware import problems
from mediator.web.request import read_body
from tests.support.sockets import connect, exchange, head, read_answer


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """Reads bodies of at most 100 bytes that arrive within a fifth of a second."""
    app = web.Application(middlewares=[problems])

    async def read(request: web.Request) -> web.Response:
        return web.Response(body=await read_body(request, 100, seconds=0.2))

    app.router.add_post("/", read)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    yield f"http://{host}:{port}"
    await runner.cleanup()


async def test_a_body_that_stops_coming_is_answered_408(url: str) -> None:
    answer = await exchange(url, head("POST", "/", [("Content-Length", "10")]), b"half")
    assert answer.status == 408
    assert "0.2 seconds" in answer.problem()["detail"]
    assert "connection: close" in answer.head.lower()


async def test_a_body_that_comes_in_time_is_read(url: str) -> None:
    answer = await exchange(url, head("POST", "/", [("Content-Length", "4")]), b"whole"[:4])
    assert (answer.status, answer.body) == (200, b"whol")


async def test_chunks_over_the_limit_are_refused_as_soon_as_they_are(url: str) -> None:
    reader, writer = await connect(url)
    writer.write(head("POST", "/", [("Transfer-Encoding", "chunked")]))
    writer.write(b"65\r\n" + b"x" * 0x65 + b"\r\n")  # and never an end
    assert (await read_answer(reader)).status == 413
    writer.close()
