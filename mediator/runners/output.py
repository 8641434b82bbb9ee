"""What scripts write, however much it is: kept for the record, and shown while they run.

The record has the beginning and the end of each stream (`BoundedOutput`). While an attempt runs,
`LiveOutputs` has its latest output for whoever wants to follow it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mediator.model.delivery import Output

HELD = 2**18
"""Bytes held of one attempt, of both streams together."""
_MOST = 4096
"""Pieces held of one attempt: one that writes to both streams in turn makes many."""
_LEAST = 4096
"""Bytes of a piece, as long as the script goes on writing to the same stream: fewer pieces."""


class BoundedOutput:
    """Collects one stream in at most one and a half times `limit` bytes plus one chunk.

    The first half of `limit` is kept as the head, the last half as the tail: the cause of a failure
    is printed first or last, seldom in the middle.
    """

    def __init__(self, limit: int) -> None:
        self._tail_size = limit // 2
        self._head_size = limit - self._tail_size
        self._head = bytearray()
        self._tail = bytearray()
        self._size = 0

    def add(self, chunk: bytes) -> None:
        """Take the next bytes of the stream."""
        self._size += len(chunk)
        room = self._head_size - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:]
        if len(self._tail) > 2 * self._tail_size:  # not at every chunk: moving bytes costs
            self._cut_tail()

    def output(self) -> Output:
        """What is kept so far."""
        self._cut_tail()
        omitted = self._size - len(self._head) - len(self._tail)
        if omitted == 0:
            return Output(head=bytes(self._head + self._tail))
        return Output(head=bytes(self._head), tail=bytes(self._tail), omitted=omitted)

    def _cut_tail(self) -> None:
        del self._tail[: max(0, len(self._tail) - self._tail_size)]


class LiveOutputs:
    """The latest output of the attempts that run here."""

    def __init__(self) -> None:
        self._tails: dict[str, dict[int, OutputTail]] = {}
        self._readers: dict[str, set[asyncio.Event]] = {}

    @property
    def deliveries(self) -> frozenset[str]:
        """Ids of those that run here, or that somebody follows."""
        return frozenset(self._tails.keys() | self._readers.keys())

    @contextmanager
    def attempt(self, delivery_id: str, number: int) -> Iterator[None]:
        """Hold what the attempt writes, until it has ended and that is recorded."""
        tail = OutputTail(number=number)
        attempts = self._tails.setdefault(delivery_id, {})
        attempts[number] = tail
        self._tell(delivery_id)
        try:
            yield
        finally:
            tail.over = True
            del attempts[number]
            if not attempts:
                self._tails.pop(delivery_id, None)
            self._tell(delivery_id)

    def write(self, delivery_id: str, number: int, stream: str, data: bytes) -> None:
        """The attempt wrote something; nothing happens when it is none that runs here."""
        tail = self.find(delivery_id, number)
        if tail is not None:
            tail.write(stream, data)
            self._tell(delivery_id)

    def find(self, delivery_id: str, number: int) -> OutputTail | None:
        """That attempt, if it runs here."""
        return self._tails.get(delivery_id, {}).get(number)

    @contextmanager
    def follow(self, delivery_id: str) -> Iterator[asyncio.Event]:
        """An event that is set when an attempt of the delivery begins, writes or ends."""
        event = asyncio.Event()
        readers = self._readers.setdefault(delivery_id, set())
        readers.add(event)
        try:
            yield event
        finally:
            readers.discard(event)
            if not readers:
                self._readers.pop(delivery_id, None)

    def _tell(self, delivery_id: str) -> None:
        for reader in self._readers.get(delivery_id, ()):
            reader.set()


@dataclass(frozen=True, slots=True)
class Piece:
    """Something that was written."""

    stream: str
    """`stdout` or `stderr`"""
    data: bytes


@dataclass(kw_only=True, slots=True)
class OutputTail:
    """The latest output of one attempt that runs, of both streams in the order of writing."""

    number: int
    over: bool = False
    """it has ended, and the store knows how, if it is to know at all"""
    sizes: Counter[str] = field(default_factory=Counter)
    """bytes that were written to each stream"""
    last: int = 0
    """bytes that were written in all"""
    _held: int = 0
    _pieces: deque[Piece] = field(default_factory=deque)

    @property
    def first(self) -> int:
        """Bytes that were written before the oldest piece that is held."""
        return self.last - self._held

    def write(self, stream: str, data: bytes) -> None:
        """Hold the next piece, and let go of the oldest ones."""
        self.sizes[stream] += len(data)
        self.last += len(data)
        self._held += len(data)
        self._append(stream, data)
        while self._held > HELD or len(self._pieces) > _MOST:
            self._held -= len(self._pieces.popleft().data)

    def _append(self, stream: str, data: bytes) -> None:
        latest = self._pieces[-1] if self._pieces else None
        if latest is not None and latest.stream == stream and len(latest.data) < _LEAST:
            self._pieces[-1] = Piece(stream, latest.data + data)
        else:
            self._pieces.append(Piece(stream, data))

    def since(self, place: int) -> Iterator[Piece]:
        """What is held behind the first `place` bytes. Read it before anything else happens."""
        start = self.first
        for piece in self._pieces:
            end = start + len(piece.data)
            if end > place:
                yield Piece(piece.stream, piece.data[max(0, place - start) :])
            start = end
