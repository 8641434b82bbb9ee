"""What a test starts finds its signals as at a terminal, whatever the tests were started from.

Below nohup, in the background of a script or under a supervisor, a program is born with signals
that are ignored or blocked, and whatever it starts is born with the same: it hears no Ctrl-C.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import FrameType

_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
"""Python ignores these for itself alone: what it starts by `subprocess` has them at default."""


def restore() -> None:
    """Let what this process starts hear every signal; it goes on itself without what it ignored."""
    for number in _ignored():
        # A handler, unlike SIG_IGN, is not passed on to a program that is started.
        signal.signal(number, _unheard)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _ignored() -> Iterator[int]:
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN and number not in _PYTHON:
            yield number


def _unheard(_number: int, _frame: FrameType | None) -> None:
    """Ignored, as this process was told to."""
