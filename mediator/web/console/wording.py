"""How pages write times, sizes and states, and how they keep what strangers write harmless."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from mediator.model.attempts import Outcome
from mediator.model.deliveries import State
from mediator.model.visible import visible

SIGNS: Mapping[str, str] = {
    State.PENDING: "◷",
    State.RUNNING: "▶",
    State.SUCCEEDED: "✓",
    State.DEAD: "✕",
    State.CANCELLED: "⊘",
}
"""A sign for each state, so that none is told by colour alone."""

TONES: Mapping[str, str] = {
    State.PENDING: "wait",
    State.RUNNING: "busy",
    State.SUCCEEDED: "good",
    State.DEAD: "bad",
    State.CANCELLED: "idle",
    Outcome.OK: "good",
    Outcome.FAILED: "bad",
    Outcome.BAD_ANSWER: "bad",
    Outcome.SIGNAL: "bad",
    Outcome.TIMEOUT: "bad",
    Outcome.CANCELLED: "idle",
    Outcome.NOT_STARTED: "bad",
    Outcome.LOST: "bad",
    Outcome.OUT_OF_MEMORY: "bad",
    Outcome.EVICTED: "bad",
    Outcome.NO_IMAGE: "bad",
    Outcome.UNSCHEDULABLE: "bad",
    Outcome.REFUSED: "bad",
}
"""Which of five tones a state or an outcome has."""

_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
_SIZES = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def finalize(value: Any) -> Any:
    """What a page writes for an expression; a control or direction character as an escape.

    Every expression of every template passes here before it is escaped for HTML.
    """
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value, keep="\n\t")
    return "" if value is None else value


def moment(time: datetime) -> str:
    """A time for people, in UTC: 2026-02-28 09:30:00."""
    return time.strftime("%Y-%m-%d %H:%M:%S")


def machine(time: datetime) -> str:
    """The same for programs."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def lasted(length: timedelta) -> str:
    """A length of time, no more exact than a person needs: 85 ms, 4.2 s, 3 min 20 s, 2 d 4 h."""
    seconds = max(length.total_seconds(), 0.0)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for (unit, size), (below, part) in pairwise(_UNITS):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit}" + (f" {rest} {below}" if rest else "")
    return f"{whole} s"


def ago(time: datetime, now: datetime) -> str:
    """How long ago, or how soon, in one unit: 3 min ago, in 5 s."""
    seconds = (now - time).total_seconds()
    if abs(seconds) < 1:
        return "now"
    for unit, size in _UNITS:
        if abs(seconds) >= size:
            count = f"{int(abs(seconds) // size)} {unit}"
            return f"{count} ago" if seconds > 0 else f"in {count}"
    return "now"


def size(count: int) -> str:
    """Bytes for people: 320 bytes, 1.5 MiB."""
    for unit, least in _SIZES:
        if count >= least:
            return f"{count / least:.1f} {unit}"
    return f"{count} byte{'' if count == 1 else 's'}"


def grouped(count: int) -> str:
    """A number with its thousands apart: 1,000,000."""
    return f"{count:,}"
