"""Servers that do what a network does on a bad day, for the shim's tests.

Run as `hostile.py DIRECTORY`. Every behaviour listens on its own port; the file of its name in the
directory holds the port, and `ready` appears when all listen. `NAME.count` counts the connections
of a behaviour.
"""

import argparse
import asyncio
import os
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
Behaviour = Callable[[Reader, Writer, int], Awaitable[None]]

ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nMediator-Delivery: d-1\r\n\r\n"
RESULT = b"HTTP/1.1 200 OK\r\nMediator-Exit-Code: 3\r\nMediator-Stdout-Length: 5\r\n"
TOO_LARGE = (
    b"HTTP/1.1 413 Content Too Large\r\nContent-Type: application/problem+json\r\n"
    b'Content-Length: 34\r\n\r\n{"detail": "The limit is 1 MiB."}\n'
)


async def request(reader: Reader) -> bytes:
    """Read one request with its body and return its head."""
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            await reader.readexactly(int(value))
    return head


def says(*pieces: bytes, wait: float = 0) -> Behaviour:
    """Answer every request with these bytes, a piece at a time."""

    async def behave(reader: Reader, writer: Writer, _: int) -> None:
        await request(reader)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(wait)

    return behave


def says_and_stays(answer: bytes) -> Behaviour:
    """Answer, and leave the connection open."""

    async def behave(reader: Reader, writer: Writer, _: int) -> None:
        await request(reader)
        writer.write(answer)
        await asyncio.Event().wait()

    return behave


def at_first(times: int, answer: bytes, then: bytes = ACCEPTED) -> Behaviour:
    """Answer the first connections one way (no bytes: close at once), the others another."""

    async def behave(reader: Reader, writer: Writer, number: int) -> None:
        await request(reader)
        writer.write(answer if number <= times else then)

    return behave


async def silent(_reader: Reader, writer: Writer, _: int) -> None:
    """Accept, and never read nor answer."""
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is a ReadTransport as well
    await asyncio.Event().wait()


async def closes(_reader: Reader, _writer: Writer, _: int) -> None:
    """Accept and close."""


async def resets(_reader: Reader, writer: Writer, _: int) -> None:
    """Accept and reset."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def breaks_off_then_silent(reader: Reader, writer: Writer, number: int) -> None:
    """Break the first answer off, and give no other one."""
    await request(reader)
    if number == 1:
        writer.write(ACCEPTED.replace(b"Length: 0", b"Length: 100"))
    else:
        await asyncio.Event().wait()


async def refuses_early(_reader: Reader, writer: Writer, _: int) -> None:
    """Answer without reading, and close."""
    writer.write(TOO_LARGE)
    await writer.drain()
    await asyncio.sleep(0.2)


async def drips(reader: Reader, writer: Writer, _: int) -> None:
    """Answer a byte a second."""
    await request(reader)
    for byte in ACCEPTED:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(1)


BEHAVIOURS: dict[str, Behaviour] = {
    "silent": silent,
    "closes": closes,
    "resets": resets,
    "refuses_early": refuses_early,
    "drips": drips,
    "breaks_off_then_silent": breaks_off_then_silent,
    "half_head": says(b"HTTP/1.1 202 Accepted\r\nMediator-Deliv"),
    "half_202": says(ACCEPTED.replace(b"Length: 0", b"Length: 100") + b"only this"),
    "half_200": says(RESULT + b"Content-Length: 20\r\n\r\nhello, wor"),
    "short_200": says(RESULT + b"\r\nhel"),
    "half_chunk": says(RESULT + b"Transfer-Encoding: chunked\r\n\r\nff\r\nhello"),
    "no_last_chunk": says(RESULT + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
    "bad_chunk": says(RESULT + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n"),
    "long_chunk": says(RESULT + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n"),
    "bad_length": says(RESULT + b"Content-Length: 5, 6\r\n\r\nhello"),
    "bad_coding": says(RESULT + b"Transfer-Encoding: gzip\r\n\r\nhello"),
    "garbage": says(b"SSH-2.0-OpenSSH_9.2\r\n" + bytes(range(256)) * 10),
    "long_line": says(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"),
    "foreign_200": says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nlogin"),
    "foreign_202": says(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"),
    "redirects": says(b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n"),
    "interim": says(
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nMediator-Delivery: wrong\r\nContent-Length: 9\r\n\r\n",
        ACCEPTED,
        wait=0.1,
    ),
    "chunks": says(
        b"HTTP/1.1 200 OK\r\ntransfer-ENCODING: Chunked\r\nMEDIATOR-EXIT-CODE:4\r\n",
        b"mediator-stdout-length:\t 7 \r\n\r\n5;name=value\r\nhe",
        b'l\0o\r\n0A ; q="a;b"\r\n, world!\r\n\r\n0;last\r\nTrailer: x\r\n\r\n',
        wait=0.1,
    ),
    "slow_body": says(RESULT + b"Content-Length: 5\r\n\r\nhe", b"llo", wait=1.5),
    "until_close": says(RESULT.replace(b"1.1", b"1.0") + b"\r\nhello world\0"),
    "stays": says_and_stays(RESULT + b"Content-Length: 7\r\n\r\nhello\0!"),
    "stays_chunked": says_and_stays(
        RESULT + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    ),
    "bare_newlines": says(ACCEPTED.replace(b"\r", b"")),
    "closes_twice": at_first(2, b""),
    "resent_200": at_first(
        1,
        RESULT + b"Content-Length: 20\r\n\r\nhello, wor",
        RESULT + b"Content-Length: 5\r\n\r\nhello",
    ),
    "retry_after_2": at_first(
        1, b"HTTP/1.1 503 Full\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n"
    ),
    "retry_after_900": at_first(
        9, b"HTTP/1.1 429 Wait\r\nRetry-After: 900\r\nContent-Length: 0\r\n\r\n"
    ),
}


def full_backlog() -> list[socket.socket]:
    """A listener that never accepts, filled up until a connect hangs as at a black hole."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    sockets = [listener]
    for _ in range(20):
        client = socket.socket()
        client.settimeout(0.3)
        sockets.append(client)
        try:
            client.connect(listener.getsockname())
        except TimeoutError:
            return sockets
    raise RuntimeError("the backlog does not fill up")


async def serve(directory: Path) -> None:
    counts: Counter[str] = Counter()
    held = full_backlog()
    ports = {"black_hole": held[0].getsockname()[1]}

    def handler(name: str, behave: Behaviour) -> Callable[[Reader, Writer], Awaitable[None]]:
        async def handle(reader: Reader, writer: Writer) -> None:
            counts[name] += 1
            (directory / f"{name}.count").write_text(f"{counts[name]}\n")
            try:
                await behave(reader, writer, counts[name])
            except (ConnectionError, asyncio.IncompleteReadError):
                pass  # the shim has had enough; that is what is tested
            finally:
                writer.close()

        return handle

    for name, behave in BEHAVIOURS.items():
        server = await asyncio.start_server(handler(name, behave), "127.0.0.1", 0)
        ports[name] = server.sockets[0].getsockname()[1]
    for name, port in ports.items():
        (directory / name).write_text(f"{port}\n")
    (directory / "ready.new").write_text(f"{os.getpid()}\n")
    (directory / "ready.new").rename(directory / "ready")
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    asyncio.run(serve(parser.parse_args().directory))


if __name__ == "__main__":
    main()
