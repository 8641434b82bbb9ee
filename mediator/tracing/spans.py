"""Spans, by OpenTelemetry's API: from a parent that came over the wire, with facts.

The API alone records nothing, and its spans then stand for their parents: what they cause belongs
to whoever handed over. With the extra `tracing` its SDK records and sends them
(`mediator.tracing.otlp`). Nothing here is kept in OpenTelemetry's own context variables: a parent
is always named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    Tracer,
    TraceState,
    set_span_in_context,
)

from mediator.tracing.context import TraceContext

Facts = Mapping[str, str | int | float | bool | None]
"""Attributes of a span; None leaves one out. Never what a ticket or a script says."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@contextmanager
def span_of(
    tracer: Tracer, name: str, *, kind: SpanKind, parent: TraceContext | None, facts: Facts
) -> Iterator[Span]:
    """A span from now to the end of the `with` block; without a parent a new trace.

    What the block raises fails it, by the name of its class: a message could quote a ticket.
    """
    span = tracer.start_span(name, context=_around(parent), kind=kind, attributes=known(facts))
    try:
        yield span
    except BaseException as error:
        span.set_status(StatusCode.ERROR, type(error).__name__)
        raise
    finally:
        span.end()


def record_past(
    tracer: Tracer,
    name: str,
    *,
    parent: TraceContext | None,
    began: datetime,
    ended: datetime,
    facts: Facts,
) -> None:
    """A span that is over."""
    span = tracer.start_span(
        name, context=_around(parent), attributes=known(facts), start_time=_nanoseconds(began)
    )
    span.end(end_time=_nanoseconds(ended))


def context_of(span: Span, parent: TraceContext | None) -> TraceContext | None:
    """What the things that a span causes belong to; None: no trace.

    Of a span that only stands for its parent this is the parent itself, as it came.
    """
    found = span.get_span_context()
    if not found.is_valid:
        return None
    span_id = f"{found.span_id:016x}"
    if parent is not None and span_id == parent.span_id:
        return parent
    return TraceContext(
        trace_id=f"{found.trace_id:032x}",
        span_id=span_id,
        flags=f"{int(found.trace_flags):02x}",
        state=found.trace_state.to_header(),
    )


def known(facts: Facts) -> dict[str, str | int | float | bool]:
    """Facts as OpenTelemetry takes them."""
    return {name: value for name, value in facts.items() if value is not None}


def _around(parent: TraceContext | None) -> Context:
    """What OpenTelemetry finds a parent in; an empty one makes a new trace."""
    if parent is None:
        return Context()
    context = SpanContext(
        trace_id=int(parent.trace_id, 16),
        span_id=int(parent.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(parent.flags, 16)),
        trace_state=TraceState.from_header([parent.state]),
    )
    return set_span_in_context(NonRecordingSpan(context), Context())


def _nanoseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000
