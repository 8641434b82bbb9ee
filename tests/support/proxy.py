"""A wire between a client and a server that a test can hold still or cut."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Self

_AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER: closing sends a reset, and what was not sent is thrown away."""


class Proxy:
    """Passes bytes on; use as `async with Proxy(port) as proxy`."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._wires: set[asyncio.Task[None]] = set()
        self._ends: set[asyncio.StreamWriter] = set()
        self._going = asyncio.Event()
        self._going.set()
        self.cut_after: bytes | None = None
        """as soon as a client has sent this, the server gets it, and nothing comes back any more"""
        self.cut = 0
        """wires that were cut for it"""
        self.refuses = self.refuses_then = False
        """no further wire is laid; `then`: once one was cut"""

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cut everything."""
        self._server.close()
        for wire in self._wires:
            wire.cancel()
        await asyncio.gather(*self._wires, return_exceptions=True)
        await asyncio.sleep(0)  # what was closed is let go of

    def hold(self) -> None:
        """Pass nothing on; connections stay, and the kernel takes what is sent to them."""
        self._going.clear()

    def go_on(self) -> None:
        """Pass on what was held back."""
        self._going.set()

    def reset(self) -> None:
        """Cut all wires in a moment: either side hears a reset, and what was under way is gone."""
        for end in self._ends:
            end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            end.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = asyncio.current_task()
        assert wire is not None
        self._wires.add(wire)
        wire.add_done_callback(self._wires.discard)
        if self.refuses:
            writer.close()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:  # nobody is there now
            writer.close()
            return
        ends = {writer, back}
        self._ends |= ends
        try:
            async with asyncio.TaskGroup() as both:
                answers = both.create_task(self._relay(there, writer))
                await self._requests(reader, back, answers)
                answers.cancel()
        except* ConnectionError:  # as either side may end it
            pass
        finally:
            self._ends -= ends
            writer.close()
            back.close()

    async def _requests(
        self, reader: asyncio.StreamReader, back: asyncio.StreamWriter, answers: asyncio.Task[None]
    ) -> None:
        while data := await reader.read(2**16):
            await self._going.wait()
            cuts = self.cut_after is not None and self.cut_after in data
            if cuts:
                answers.cancel()
            back.write(data)
            await back.drain()
            if cuts:
                self.cut_after = None
                self.cut += 1
                self.refuses = self.refuses_then
                await asyncio.sleep(0.2)  # the server works on what it got; nobody is told
                return

    async def _relay(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await there.read(2**16):
            await self._going.wait()
            writer.write(data)
            await writer.drain()
        writer.close()
