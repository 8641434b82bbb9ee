"""The attempts of one delivery as its page shows them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from mediator.model.attempts import Attempt
from mediator.model.deliveries import Delivery
from mediator.runners.live import LiveOutputs
from mediator.web.outputs import output_document

MOST_SHOWN = 10
"""Attempts whose outputs are on the page, the latest ones."""
MOST_TEXT = 32 * 1024
"""Characters of a stream that are on the page, the last ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """What an attempt wrote to one stream."""

    name: str
    text: str
    size: int
    """bytes it wrote"""
    cut: bool
    """whether `text` begins in the middle"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """One attempt."""

    attempt: Attempt
    streams: tuple[Stream, ...]
    """empty where they are left to a link"""
    latest: bool
    length: timedelta
    """so far, while it runs"""

    @property
    def word(self) -> str:
        """How it ended, in a word or two."""
        outcome = self.attempt.outcome
        return "running" if outcome is None else outcome.value.replace("_", " ")


def shown(delivery: Delivery, live: LiveOutputs, *, now: datetime) -> list[Shown]:
    """Every attempt, the latest first."""
    latest_first = delivery.attempts[::-1]
    return [
        Shown(
            attempt=attempt,
            streams=_streams(delivery, attempt, live) if position < MOST_SHOWN else (),
            latest=position == 0,
            length=(attempt.ended or now) - attempt.started,
        )
        for position, attempt in enumerate(latest_first)
    ]


def _streams(delivery: Delivery, attempt: Attempt, live: LiveOutputs) -> tuple[Stream, ...]:
    document = output_document(delivery, attempt, live.find(delivery.id, attempt.number))
    return tuple(
        Stream(name=name, text=text[-MOST_TEXT:], size=size, cut=len(text) > MOST_TEXT)
        for name, text, size in (
            ("stdout", document.stdout, document.stdout_bytes),
            ("stderr", document.stderr, document.stderr_bytes),
        )
    )
