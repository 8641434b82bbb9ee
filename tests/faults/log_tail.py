"""The end of SQLite's write-ahead log, and how a power cut leaves it.

Format: https://www.sqlite.org/fileformat2.html#the_write_ahead_log. A frame counts if its salts
are those of the header, its checksum is right, and a frame that ends a commit follows. Behind the
last such frame may be anything: older frames, or the torn beginning of a transaction.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_HEADER, _FRAME = 32, 24
_BIG_ENDIAN = 0x377F0683


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One page in the log."""

    start: int
    """where it is, in bytes"""
    size: int
    """with its header"""
    commits: bool


def frames(log: bytes) -> list[Frame]:
    """Those that count, and those of a transaction that was not committed."""
    return list(_frames(log)) if len(log) >= _HEADER else []


def _frames(log: bytes) -> Iterator[Frame]:
    magic, _, page = struct.unpack_from(">III", log)
    order = ">" if magic == _BIG_ENDIAN else "<"
    salts, sums = log[16:24], _checksum(log[:24], (0, 0), order)
    if sums != struct.unpack_from(">II", log, 24):
        return
    for start in range(_HEADER, len(log) - _FRAME - page + 1, _FRAME + page):
        head = log[start : start + _FRAME]
        sums = _checksum(head[:8] + log[start + _FRAME : start + _FRAME + page], sums, order)
        if head[8:16] != salts or sums != struct.unpack_from(">II", head, 16):
            return
        yield Frame(start=start, size=_FRAME + page, commits=head[4:8] != bytes(4))


def _checksum(data: bytes, before: tuple[int, int], order: str) -> tuple[int, int]:
    first, second = before
    for one, other in struct.iter_unpack(f"{order}II", data):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second


def end_of_commits(log: bytes) -> int:
    """Where the last committed transaction ends, in bytes; 0 for a log without a header."""
    ends = [one.start + one.size for one in frames(log) if one.commits]
    return ends[-1] if ends else min(len(log), _HEADER)


def tear(path: Path, chance: random.Random) -> str:
    """Spoil what follows the last commit, in one of the ways of a power cut; which."""
    log = path.read_bytes() if path.exists() else b""
    end = end_of_commits(log)
    if not end:
        return "there is no log"
    how = chance.choice(sorted(TAILS))
    path.write_bytes(log[:end] + TAILS[how](log, chance))
    return how


def _nothing(_: bytes, __: random.Random) -> bytes:
    """The disk had not grown the file yet."""
    return b""


def _zeros(log: bytes, _: random.Random) -> bytes:
    """It had grown it, and written nothing."""
    return bytes(2 * _size(log))


def _garbage(log: bytes, chance: random.Random) -> bytes:
    """Its blocks hold what was there before."""
    return chance.randbytes(_size(log) + chance.randrange(_size(log)))


def _half(log: bytes, chance: random.Random) -> bytes:
    """A frame with the right salts, and the first part of its page."""
    return _begun(log, chance)[: chance.randrange(_FRAME, _size(log))]


def _begun(log: bytes, chance: random.Random) -> bytes:
    """A frame that ends a commit, with the right salts, and a page that does not fit its sum."""
    head = struct.pack(">II", 2, 9) + log[16:24] + chance.randbytes(8)
    return head + chance.randbytes(_size(log) - _FRAME)


def _size(log: bytes) -> int:
    page: int = struct.unpack_from(">I", log, 8)[0]
    return _FRAME + page


TAILS = {
    "cut short": _nothing,
    "zeros": _zeros,
    "garbage": _garbage,
    "half a frame": _half,
    "a frame with a wrong sum": _begun,
}
