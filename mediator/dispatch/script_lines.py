"""What scripts write, passed on to the log line by line, where `log.script_output` wants it.

It may hold what tickets say, so it is off by default. No attempt waits for it: a line is logged as
it comes, cut at `LONGEST`, and beyond `MOST` lines a second the rest of that second is skipped
and counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

LONGEST = 2048
"""Bytes of a line in the log; the rest of a longer one is left out."""
MOST = 200
"""Lines a second of one attempt."""
_log = structlog.get_logger()


class ScriptLines:
    """Logs what one attempt writes; made where its ids are bound."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._ids = structlog.contextvars.get_contextvars()
        self._clock = clock
        self._streams = {name: _Stream() for name in ("stdout", "stderr")}
        self._second, self._told, self._skipped = clock(), 0, 0

    def write(self, stream: str, data: bytes) -> None:
        """Log the lines that this completes."""
        for line, cut in self._streams[stream].lines(data):
            self._tell(stream, line, cut=cut)

    def close(self) -> None:
        """Log what is left without a line feed."""
        for name, stream in self._streams.items():
            for line, cut in stream.rest():
                self._tell(name, line, cut=cut)
        self._tell_skipped()

    def _tell(self, stream: str, line: bytes, *, cut: bool) -> None:
        if (now := self._clock()) - self._second >= 1:
            self._tell_skipped()
            self._second, self._told = now, 0
        self._told += 1
        if self._told > MOST:
            self._skipped += 1
            return
        text = line.decode("utf-8", "replace")
        _log.info("script output", **{**self._ids, "stream": stream, "line": text, "cut": cut})

    def _tell_skipped(self) -> None:
        if self._skipped:
            _log.warning("script output skipped", **{**self._ids, "lines": self._skipped})
        self._skipped = 0


class _Stream:
    """Cuts one stream into lines, holding no more than `LONGEST` bytes of an unfinished one."""

    def __init__(self) -> None:
        self._begun = bytearray()
        self._cut = False

    def lines(self, data: bytes) -> list[tuple[bytes, bool]]:
        """The lines that are complete now, each with whether something of it is missing."""
        found = []
        *whole, rest = data.split(b"\n")
        for part in whole:
            self._add(part)
            found.append((bytes(self._begun).removesuffix(b"\r"), self._cut))
            self._begun, self._cut = bytearray(), False
        self._add(rest)
        return found

    def rest(self) -> list[tuple[bytes, bool]]:
        """The last line, if it had no end."""
        return self.lines(b"\n") if self._begun or self._cut else []

    def _add(self, part: bytes) -> None:
        room = LONGEST - len(self._begun)
        self._begun += part[:room]
        self._cut = self._cut or len(part) > room
