"""Keeps the beginning and the end of what a script writes, however much it writes."""

from __future__ import annotations

from mediator.model.attempts import Output


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
