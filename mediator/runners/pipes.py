"""The daemon's ends of a script's stdin, stdout and stderr.

Plain descriptors on the event loop, not transports: a transport costs more than the whole of an
attempt's other work here, and would hold the end of the process back until it is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable

from mediator.runners.output import BoundedOutput

_CHUNK = 65536  # the capacity of a pipe, pipe(7)


class Feed:
    """Writes the ticket into a pipe, then closes it, which is the end of file."""

    def __init__(self, descriptor: int, content: bytes) -> None:
        self._descriptor = descriptor
        self._rest = memoryview(content)
        self._waiting = False
        os.set_blocking(descriptor, False)
        self._write()

    def _write(self) -> None:
        try:
            while self._rest:
                self._rest = self._rest[os.write(self._descriptor, self._rest[:_CHUNK]) :]
        except BlockingIOError:
            self._wait()
        except BrokenPipeError:  # a script need not read its ticket
            self.close()
        else:
            self.close()

    def _wait(self) -> None:
        if not self._waiting:
            asyncio.get_running_loop().add_writer(self._descriptor, self._write)
            self._waiting = True

    def close(self) -> None:
        """Stop writing; does nothing the second time."""
        if self._descriptor < 0:
            return
        if self._waiting:
            asyncio.get_running_loop().remove_writer(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1


class Drain:
    """Reads a pipe to its end, so that the script never blocks, and keeps a bounded part.

    `ended` is done at the end of file. `listener` hears each chunk as it comes.
    """

    def __init__(
        self, descriptor: int, limit: int, listener: Callable[[bytes], None] | None = None
    ) -> None:
        self._descriptor = descriptor
        self._listener = listener
        self._kept = BoundedOutput(limit)
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = loop.create_future()
        os.set_blocking(descriptor, False)
        loop.add_reader(descriptor, self._read)

    @property
    def inode(self) -> int:
        """The number of the pipe, the same at both ends."""
        return os.fstat(self._descriptor).st_ino

    @property
    def kept(self) -> BoundedOutput:
        """What was written until now."""
        return self._kept

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            chunk = os.read(self._descriptor, _CHUNK)  # one only: other attempts wait for the loop
            if chunk:
                self._take(chunk)
            else:
                self.close()

    def _take(self, chunk: bytes) -> None:
        self._kept.add(chunk)
        if self._listener is not None:
            self._listener(chunk)

    def close(self) -> None:
        """Stop reading; does nothing the second time."""
        if self._descriptor < 0:
            return
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1
        if not self.ended.done():
            self.ended.set_result(None)
