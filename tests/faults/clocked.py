"""Runs `mediator` so that libfaketime can set its clock.

libfaketime 0.9.10 answers EINVAL to the call by which Python sleeps (clock_nanosleep(2) until a
moment of CLOCK_MONOTONIC). Nothing else of Python is disturbed by it.
"""

from __future__ import annotations

import select
import time
from typing import SupportsIndex


def _sleep(seconds: float | SupportsIndex, /) -> None:
    select.select([], [], [], float(seconds))


time.sleep = _sleep

from mediator.cli.main import main  # noqa: E402 -- it must find the other `sleep`

main()
