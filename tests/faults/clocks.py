"""The wall clock of a mediator, which a test can set: libfaketime, told by a file.

Only CLOCK_REALTIME is faked, as when somebody sets the clock of a machine; CLOCK_MONOTONIC goes on.
Scripts have the true clock: their environment is exactly what the mediator gives them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PROGRAM = Path(__file__).with_name("clocked.py")


def _library() -> Path:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    assert found, "no libfaketime: install the Debian package faketime"
    return found[0]


@dataclass(frozen=True, slots=True)
class Clock:
    """One mediator's."""

    file: Path
    can_be_set: bool
    """otherwise nothing is preloaded: asking for the time would cost ten times as much"""

    def __post_init__(self) -> None:
        """Begin with the true time."""
        self.set(0)

    def set(self, seconds: int) -> None:
        """From now on it is wrong by so many seconds."""
        assert self.can_be_set or not seconds
        fresh = self.file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.rename(self.file)

    @property
    def environment(self) -> Mapping[str, str]:
        """What the mediator is started with."""
        if not self.can_be_set:
            return {}
        return {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    @property
    def command(self) -> Sequence[str]:
        """Instead of `python -m mediator`."""
        program = ("-P", str(_PROGRAM)) if self.can_be_set else ("-m", "mediator")
        return (sys.executable, *program)
