"""Which files have been left alone long enough to be read.

Copying tools write a file piece by piece, `git` removes it first, and nothing tells when they are
done. So a change counts when it has been the last one for a moment, and the absence of a file
that was there is a change like any other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from mediator.catalog.fingerprints import MISSING, Fingerprint

QUIET = 0.3
"""Seconds without a change after which a file is taken as whole."""


class Settling:
    """Remembers since when each file has been as it is."""

    def __init__(
        self,
        quiet: float = QUIET,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.quiet = quiet
        self._monotonic = monotonic
        self._wall = wall
        self._seen: dict[str, tuple[Fingerprint, float]] | None = None

    def look(self, files: Mapping[str, Fingerprint]) -> frozenset[str]:
        """The names of the files, there or not, whose last change is too recent."""
        now = self._monotonic()
        before = self._seen
        states = {**dict.fromkeys(before or (), MISSING), **files}
        self._seen = {
            name: (state, self._since(name, state, before, now)) for name, state in states.items()
        }
        recent = frozenset(
            name for name, (_, since) in self._seen.items() if now - since < self.quiet
        )
        for name in [n for n in states if states[n] is MISSING and n not in recent]:
            del self._seen[name]
        return recent

    def _since(
        self,
        name: str,
        state: Fingerprint,
        before: Mapping[str, tuple[Fingerprint, float]] | None,
        now: float,
    ) -> float:
        """When it became so: as this process saw it, for another machine's clock may be wrong."""
        if before is None:  # at the first look there is only the file system's word
            age = self._wall() - state.changed / 1e9
            return now - max(0.0, age)
        known = before.get(name)
        return known[1] if known is not None and known[0] == state else now
