"""A ticket over the limit is refused before it is read whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from tests.acceptance.conftest import LIMIT
from tests.support.mediator import Client, Handover, Mediator
from tests.support.sockets import connect, exchange, hang_up, head, read_answer

LARGE = LIMIT + 1


def ticket(size: int) -> bytes:
    edges = b"<ticket_info></ticket_info>"
    return edges[:13] + b" " * (size - len(edges)) + edges[13:]


async def test_a_ticket_of_exactly_the_limit_is_taken(client: Client) -> None:
    assert (await client.hand_over(Handover(body=ticket(LIMIT)))).status == 202


async def test_one_byte_more_is_refused(client: Client) -> None:
    answer = await client.hand_over(Handover(body=ticket(LARGE)))
    assert answer.status == 413
    assert str(LIMIT) in answer.detail
    assert "http.body_limit" in answer.detail


async def test_the_announced_length_is_enough_to_refuse(shared: Mediator) -> None:
    handover = Handover()
    headers = [*handover.signed().items(), ("Content-Length", str(10**12))]
    answer = await exchange(shared.url, head("POST", handover.target, headers))
    assert answer.status == 413
    assert answer.problem()["status"] == 413
    assert "connection: close" in answer.head.lower()


async def test_a_body_in_chunks_is_counted_while_it_comes(client: Client) -> None:
    handover = Handover(body=ticket(LARGE))
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):  # far more than the limit, should nobody count
            sent += 50_000
            yield b" " * 50_000

    answer = await client.send(handover.target, chunks(), handover.signed())
    assert answer.status == 413


async def test_chunks_below_the_limit_are_taken(client: Client) -> None:
    handover = Handover(body=ticket(100_000))

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(handover.body), 7000):
            yield handover.body[start : start + 7000]

    assert (await client.send(handover.target, chunks(), handover.signed())).status == 202


async def test_who_asks_first_never_sends_a_body_that_is_too_large(shared: Mediator) -> None:
    handover = Handover()
    headers = [
        *handover.signed().items(),
        ("Content-Length", str(LARGE)),
        ("Expect", "100-continue"),
    ]
    answer = await exchange(shared.url, head("POST", handover.target, headers))
    assert answer.status == 413
    assert answer.problem()["status"] == 413


async def test_who_asks_first_with_a_bad_signature_never_sends_the_body(shared: Mediator) -> None:
    handover = Handover()
    headers = [("Content-Length", "1000"), ("Expect", "100-continue")]
    answer = await exchange(shared.url, head("POST", handover.target, headers))
    assert answer.status == 401


async def test_who_asks_first_is_told_to_go_on(shared: Mediator) -> None:
    handover = Handover(body=ticket(5000))
    headers = [
        *handover.signed().items(),
        ("Content-Length", "5000"),
        ("Expect", "100-continue"),
        ("Connection", "close"),
    ]
    reader, writer = await connect(shared.url)
    writer.write(head("POST", handover.target, headers))
    async with asyncio.timeout(60):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(handover.body)
        answer = await read_answer(reader)
    writer.close()
    assert answer.status == 202


async def test_another_expectation_is_refused_with_a_problem(shared: Mediator) -> None:
    for target in (Handover().target, "/livez"):
        method = "GET" if target == "/livez" else "POST"
        headers = [("Expect", "miracles"), ("Connection", "close")]
        answer = await exchange(shared.url, head(method, target, headers))
        assert answer.status == 417
        assert "100-continue" in answer.problem()["detail"]


async def test_refusing_large_tickets_reads_none_of_them_into_memory(shared: Mediator) -> None:
    before = shared.peak_memory()
    handover = Handover()
    for _ in range(20):
        headers = [*handover.signed().items(), ("Content-Length", str(30 * 2**20))]
        reader, writer = await connect(shared.url)
        writer.write(head("POST", handover.target, headers))
        writer.write(b" " * 2**20)
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
        await hang_up(writer)
    assert shared.peak_memory() - before < 16 * 2**20
