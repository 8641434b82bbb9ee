"""Bytes on a connection, for requests that no client library would send."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_PATIENCE = 60.0


@dataclass(frozen=True)
class Raw:
    """What came back."""

    head: str
    body: bytes

    @property
    def status(self) -> int:
        """The status of the answer."""
        return int(self.head.split(" ", 2)[1])

    def problem(self) -> dict[str, Any]:
        """The problem document."""
        assert "application/problem+json" in self.head, self
        document: dict[str, Any] = json.loads(self.body)
        return document


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the mediator at `url`."""
    parts = urlsplit(url)
    return await asyncio.open_connection(parts.hostname, parts.port)


async def exchange(url: str, *pieces: bytes) -> Raw:
    """Send the pieces, and read one answer."""
    reader, writer = await connect(url)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await read_answer(reader)
    finally:
        await hang_up(writer)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close a connection now: what is not sent yet would keep it open beyond the test."""
    writer.transport.abort()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def read_answer(reader: asyncio.StreamReader) -> Raw:
    """One answer; the connection may stay open."""
    async with asyncio.timeout(_PATIENCE):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"(?im)^content-length: *(\d+)", head)
        body = await reader.readexactly(int(length[1])) if length else b""
    return Raw(head.removesuffix("\r\n\r\n"), body)


def head(method: str, target: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """The head of a request."""
    lines = [f"{method} {target} HTTP/1.1", "Host: mediator.test"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")
