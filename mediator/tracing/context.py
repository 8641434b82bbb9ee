"""The place of a call in a trace, as W3C Trace Context has it (https://www.w3.org/TR/trace-context/).

It arrives in the headers `traceparent` and `tracestate`, is kept with the delivery, and reaches the
script as `TRACEPARENT` and `TRACESTATE`, the names of OpenTelemetry's propagation by environment
(https://opentelemetry.io/docs/specs/otel/context/env-carriers/).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_STATE = 512
"""Characters of a tracestate; the recommendation wants at least so many passed on."""
_PARENT = re.compile(r"(?P<version>[0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_STATE = re.compile(r"[\x20-\x7e]*[\x21-\x7e][\x20-\x7e]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class TraceContext:
    """One span, seen by what it causes."""

    trace_id: str
    """32 hexadecimal digits"""
    span_id: str
    """16 hexadecimal digits"""
    flags: str = "00"
    """2 hexadecimal digits; the lowest bit: it is recorded"""
    state: str = ""
    """what vendors passed along; empty: nothing"""

    @property
    def traceparent(self) -> str:
        """The value of the header and of the variable."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"

    @property
    def variables(self) -> dict[str, str]:
        """What a script finds in its environment."""
        found = {"TRACEPARENT": self.traceparent}
        return {**found, "TRACESTATE": self.state} if self.state else found


def traced(context: TraceContext | None) -> dict[str, str]:
    """What log lines tell of it."""
    return {} if context is None else {"trace_id": context.trace_id}


def read_context(parents: Sequence[str], states: Sequence[str] = ()) -> TraceContext | None:
    """Read all values of both headers; None when there is no context, or none that is valid.

    What is not valid is ignored, as the recommendation wants: nobody's ticket fails for it.
    """
    found = _PARENT.fullmatch(parents[0]) if len(parents) == 1 else None
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if (
        version == "ff"
        or (version == "00" and more)
        or not (int(trace_id, 16) and int(span_id, 16))
    ):
        return None
    return TraceContext(trace_id=trace_id, span_id=span_id, flags=flags, state=_state(states))


def _state(states: Sequence[str]) -> str:
    joined = ",".join(states)
    fits = len(joined) <= LONGEST_STATE and _STATE.fullmatch(joined)
    return joined.strip() if fits else ""
