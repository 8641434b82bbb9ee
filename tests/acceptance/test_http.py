"""The HTTP of it: errors are problem documents, connections are kept, and none is kept for ever."""

from __future__ import annotations

import pytest

from tests.support.mediator import Client, Handover, Mediator
from tests.support.sockets import connect, exchange, head, read_answer

NOTHING = [("Connection", "close")]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"hello\r\n\r\n", id="not HTTP"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", id="TLS"),
        pytest.param(b"GET / HTTP/9.9\r\n\r\n", id="another version"),
        pytest.param(b"GET /livez HTTP/1.1\r\nbad header\r\n\r\n", id="no colon"),
        pytest.param(b"GET /livez HTTP/1.1\r\nX: a\x00b\r\n\r\n", id="NUL in a header"),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n", id="length no number"
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            id="two lengths",
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Length: 5\r\n\r\n",
            id="smuggling",
        ),
        pytest.param(b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n", id="200 kB target"),
        pytest.param(
            b"GET /livez HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", id="100 kB header"
        ),
        pytest.param(
            b"GET /livez HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(500)) + b"\r\n",
            id="500 headers",
        ),
    ],
)
async def test_what_is_not_http_is_answered_with_a_problem(shared: Mediator, sent: bytes) -> None:
    reader, writer = await connect(shared.url)
    writer.write(sent)
    answer = await read_answer(reader)
    assert answer.status == 400
    assert answer.problem()["status"] == 400
    assert await reader.read() == b"", "where the next request begins is unknown: it must close"
    writer.close()


async def test_a_chunk_that_is_none_is_answered_with_a_problem(shared: Mediator) -> None:
    handover = Handover()
    headers = [*handover.signed().items(), ("Transfer-Encoding", "chunked")]
    # At once: of a bad chunk that comes later, aiohttp tells nobody until the time is over.
    request = head("POST", handover.target, headers) + b"zz\r\nnot a chunk\r\n"
    answer = await exchange(shared.url, request)
    assert answer.status == 400
    assert answer.problem()["status"] == 400


async def test_bytes_in_the_target_that_are_no_text_do_no_harm(shared: Mediator) -> None:
    request = head("POST", "/v1/scripts/\udcff\udcfe/deliveries?arg=\udcff", NOTHING)
    answer = await exchange(shared.url, request)
    assert answer.status in {400, 401}
    assert answer.problem()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1", 404),
        ("GET", "/v2/deliveries", 404),
        ("GET", "/v1/deliveries/", 404),
        ("GET", "/v1/scripts/notify.py/deliveries", 405),
        ("PUT", "/v1/scripts/notify.py/deliveries", 405),
        ("DELETE", "/v1/deliveries/1", 405),
        ("POST", "/v1/deliveries", 405),
        ("POST", "/metrics", 405),
        ("OPTIONS", "/v1/deliveries", 405),
        ("TRACE", "/livez", 405),
    ],
)
async def test_what_is_not_there_is_answered_with_a_problem(
    client: Client, method: str, path: str, status: int
) -> None:
    answer = await client.call(method, path)
    assert answer.status == status
    assert answer.detail
    assert ("Allow" in answer.headers) == (status == 405)


async def test_head_is_get_without_its_body(client: Client) -> None:
    for path in ("/livez", "/readyz", "/metrics", "/v1/scripts", "/v1/openapi.json"):
        answer = await client.call("HEAD", path)
        assert (answer.status, answer.body) == (200, b""), path
    assert (await client.call("HEAD", "/v1/scripts", token=None)).status == 401


async def test_a_connection_serves_one_request_after_another(shared: Mediator) -> None:
    reader, writer = await connect(shared.url)
    for n in range(3):
        handover = Handover(script="ok.sh", arguments=[f"keep-alive {n}"])
        headers = [*handover.signed().items(), ("Content-Length", str(len(handover.body)))]
        writer.write(head("POST", handover.target, headers) + handover.body)
        assert (await read_answer(reader)).status == 202
    bad = Handover(script="ok.sh", body=b"")
    writer.write(head("POST", bad.target, [*bad.signed().items(), ("Content-Length", "0")]))
    assert (await read_answer(reader)).status == 400
    writer.write(head("GET", "/livez", NOTHING))
    assert (await read_answer(reader)).status == 200
    assert await reader.read() == b""
    writer.close()


async def test_a_client_that_goes_away_in_the_middle_of_a_ticket_leaves_nothing(
    shared: Mediator, client: Client
) -> None:
    handover = Handover(script="ok.sh", idempotency_key="cut-in-the-middle")
    headers = [*handover.signed().items(), ("Content-Length", str(len(handover.body)))]
    _, writer = await connect(shared.url)
    writer.write(head("POST", handover.target, headers) + handover.body[:10])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    answer = await client.hand_over(handover)
    assert answer.status == 202
    assert "Mediator-Duplicate" not in answer.headers
