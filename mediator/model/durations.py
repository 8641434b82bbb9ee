"""Durations and sizes as people write them: `200ms 2s 5m 24h`, `1MiB`."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(B|KiB|MiB|GiB|kB|MB|GB)|\d+", re.ASCII)


def parse_duration(text: object) -> timedelta:
    """Read `200ms`, `2s`, `1m30s`, `24h`, `7d`. Raises ValueError for anything else."""
    if isinstance(text, timedelta):
        return text
    if not isinstance(text, str) or not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration such as 200ms, 2s, 5m or 24h")
    seconds = sum(float(n) * _SECONDS[u] for n, u in _DURATION_PART.findall(text))
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise ValueError(f"{text!r} is longer than a duration can be") from None


def format_duration(value: timedelta) -> str:
    """Write a duration the way `parse_duration` reads it, in the largest unit that is exact."""
    milliseconds = round(value / timedelta(milliseconds=1))
    for unit in ("d", "h", "m", "s"):
        size = int(_SECONDS[unit] * 1000)
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


def parse_size(text: object) -> int:
    """Read a number of bytes, plain or as `64KiB`, `1MiB`, `10 MB`. Raises ValueError otherwise."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    match = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 4096, 64KiB or 1MiB")
    if match[2] is None:
        return int(match[0])
    return int(Decimal(match[1]) * _BYTES[match[2]])


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    Field(ge=timedelta(0)),
]
"""A pydantic field that takes `2s` and gives a timedelta of at least 0."""

PositiveDuration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    Field(gt=timedelta(0)),
]
"""The same, above 0."""

Size = Annotated[int, BeforeValidator(parse_size), Field(gt=0)]
"""A pydantic field that takes `1MiB` and gives bytes, at least 1."""

AnySize = Annotated[int, BeforeValidator(parse_size), Field(ge=0)]
"""The same, or 0."""
