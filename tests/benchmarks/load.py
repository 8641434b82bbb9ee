"""Requests made beforehand and sent from another process, so that sending costs nothing here."""

from __future__ import annotations

import asyncio
import multiprocessing
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from tests.support.mediator import Handover
from tests.support.sockets import head

_PATIENCE = 600.0
"""Seconds after which the other side counts as hung."""
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


def tickets(count: int, *, script: str, size: int = 2048) -> list[bytes]:
    """Signed hand-overs of different tickets, each a whole request."""
    return [_request(script, n, size) for n in range(count)]


def _request(script: str, n: int, size: int) -> bytes:
    edges = f"<ticket_info><id>{n}</id><comment></comment></ticket_info>".encode()
    body = edges.replace(b"<comment>", b"<comment>" + b"x" * (size - len(edges)))
    handover = Handover(script=script, body=body)
    headers = [*handover.signed().items(), ("Content-Length", str(len(body)))]
    return head("POST", handover.target, headers) + body


class _Sender(asyncio.Protocol):
    """One connection: the next request as soon as the last is answered."""

    def __init__(self, requests: deque[bytes], statuses: Counter[int], waits: list[float]) -> None:
        self.done = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._statuses = statuses
        self._waits = waits
        self._sent = 0.0
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(self._received[: end + 2])
        if len(self._received) < end + 4 + (int(length[1]) if length else 0):
            return
        self._statuses[int(self._received[9:12])] += 1
        self._waits.append(time.perf_counter() - self._sent)
        self._received = b""
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("closed in the middle"))

    def _send(self) -> None:
        if self._requests:
            self._sent = time.perf_counter()
            self._transport.write(self._requests.popleft())
        else:
            self.done.set_result(None)
            self._transport.close()


async def _send_all(
    url: str, requests: Sequence[bytes], connections: int
) -> tuple[float, Counter[int], list[float]]:
    address = urlsplit(url)
    host, port = str(address.hostname), address.port or 80
    left, statuses = deque(requests), Counter[int]()
    waits: list[float] = []
    loop = asyncio.get_running_loop()
    start = time.perf_counter()
    senders = [
        (await loop.create_connection(lambda: _Sender(left, statuses, waits), host, port))[1]
        for _ in range(connections)
    ]
    async with asyncio.timeout(_PATIENCE):
        await asyncio.gather(*(sender.done for sender in senders))
    return time.perf_counter() - start, statuses, waits


def _child(
    url: str, requests: Sequence[bytes], connections: int
) -> tuple[float, Counter[int], list[float]]:
    return asyncio.run(_send_all(url, requests, connections))


def send(
    url: str,
    requests: Sequence[bytes],
    *,
    connections: int = 16,
    waits: list[float] | None = None,
) -> tuple[float, Counter[int]]:
    """Send all from another process; seconds it took, and how many answers of each status.

    `waits` gets the seconds that each answer took.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        call: Callable[..., tuple[float, Counter[int], list[float]]] = _child
        seconds, statuses, waited = pool.apply(call, (url, requests, connections))
    if waits is not None:
        waits += waited
    return seconds, statuses
