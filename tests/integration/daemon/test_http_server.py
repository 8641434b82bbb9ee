"""Ports and connections of a real listener, with times short enough for a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from mediator.daemon.http_server import Listener
from mediator.errors import SettingsError
from tests.support.sockets import connect, exchange, head, read_answer


async def hello(request: web.Request) -> web.Response:
    return web.Response(body=await request.read())


async def crash(_: web.Request) -> web.Response:
    raise RuntimeError("not ours")


def application() -> web.Application:
    app = web.Application()
    app.router.add_route("*", "/", hello)
    app.router.add_get("/crash", crash)
    return app


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """A listener that soon loses its patience."""
    listener = Listener(app=application(), host="127.0.0.1", port=0, key="http.port", idle=0.2)
    yield await listener.open()
    await listener.close()


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "],
    ids=["nothing", "a word", "half"],
)
async def test_who_never_sends_a_whole_head_is_hung_up_on(url: str, sent: bytes) -> None:
    reader, writer = await connect(url)
    writer.write(sent)
    async with asyncio.timeout(30):
        assert await reader.read() == b""
    writer.close()


async def test_who_says_nothing_more_is_hung_up_on(url: str) -> None:
    reader, writer = await connect(url)
    writer.write(head("GET", "/", []))
    assert (await read_answer(reader)).status == 200
    async with asyncio.timeout(30):
        assert await reader.read() == b""
    writer.close()


async def test_a_fault_of_ours_outside_a_handler_is_a_problem_too(url: str) -> None:
    answer = await exchange(url, head("GET", "/crash", []))
    assert answer.status == 500
    assert "not ours" not in answer.problem()["detail"]


async def test_a_port_that_is_taken_is_an_error_of_the_settings(url: str) -> None:
    port = int(url.rpartition(":")[2])
    second = Listener(app=application(), host="127.0.0.1", port=port, key="http.metrics_port")
    with pytest.raises(SettingsError, match=r"http.metrics_port.*MEDIATOR_HTTP__METRICS_PORT"):
        await second.open()


async def test_a_host_that_is_not_here_is_an_error_of_the_settings() -> None:
    listener = Listener(app=application(), host="192.0.2.1", port=0, key="http.port")
    with pytest.raises(SettingsError, match=r"192\.0\.2\.1"):
        await listener.open()


async def test_an_address_of_version_6_is_written_as_urls_want_it() -> None:
    listener = Listener(app=application(), host="::1", port=0, key="http.port")
    try:
        url = await listener.open()
    except SettingsError:
        pytest.skip("no IPv6 here")
    assert url.startswith("http://[::1]:")
    await listener.close()


async def test_who_was_accepted_may_still_ask_at_the_end() -> None:
    listener = Listener(app=application(), host="127.0.0.1", port=0, key="http.port")
    url = await listener.open()
    request = head("GET", "/", [])
    reader, writer = await connect(url)
    writer.write(request[:5])
    # Whoever came later has been answered, so the first one has been accepted.
    assert (await exchange(url, request)).status == 200
    closing = asyncio.create_task(listener.close())
    writer.write(request[5:])
    assert (await read_answer(reader)).status == 200
    writer.close()
    await closing
    with pytest.raises(ConnectionRefusedError):
        await connect(url)


async def test_a_body_that_still_comes_is_waited_for_at_the_end(url: str) -> None:
    listener = Listener(app=application(), host="127.0.0.1", port=0, key="http.port")
    url = await listener.open()
    reader, writer = await connect(url)
    writer.write(head("POST", "/", [("Content-Length", "6"), ("Expect", "100-continue")]))
    assert (await read_answer(reader)).status == 100
    closing = asyncio.create_task(listener.close())
    while not closing.done():  # until nothing listens any more
        try:
            _, late = await connect(url)
        except ConnectionError:
            break
        late.close()
    writer.write(b"ticket")
    answer = await read_answer(reader)
    assert (answer.status, answer.body) == (200, b"ticket")
    await closing
    writer.close()
