"""Spans by OpenTelemetry's API, where nothing records them and where its SDK does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NoOpTracer, SpanKind, StatusCode, Tracer

from mediator.tracing.context import TraceContext
from mediator.tracing.spans import context_of, known, record_past, span_of

PARENT = TraceContext(trace_id="4b" * 16, span_id="a7" * 8, flags="01", state="Not by the rules")
NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


def caused(tracer: Tracer, parent: TraceContext | None) -> TraceContext | None:
    with span_of(tracer, "attempt", kind=SpanKind.CONSUMER, parent=parent, facts={}) as span:
        span.set_attributes(known({"a": 1, "b": None}))
        return context_of(span, parent)


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def recording(spans: InMemorySpanExporter) -> Tracer:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return provider.get_tracer("test")


@pytest.mark.parametrize("parent", [None, PARENT], ids=["no trace", "in a trace"])
def test_what_is_not_recorded_passes_its_parent_on_as_it_came(parent: TraceContext | None) -> None:
    assert caused(NoOpTracer(), parent) == parent


def test_a_span_that_is_not_sampled_is_a_parent_all_the_same() -> None:
    tracer = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False).get_tracer("test")
    made = caused(tracer, PARENT)
    assert made is not None
    assert (made.trace_id, made.flags) == (PARENT.trace_id, "00")
    assert made.span_id != PARENT.span_id


def test_a_span_belongs_to_its_parent_and_has_the_facts_that_are_known(
    recording: Tracer, spans: InMemorySpanExporter
) -> None:
    made = caused(recording, PARENT)
    (span,) = spans.get_finished_spans()
    assert made is not None
    assert span.context is not None
    assert span.parent is not None
    assert (made.trace_id, made.span_id) == (PARENT.trace_id, f"{span.context.span_id:016x}")
    assert f"{span.parent.span_id:016x}" == PARENT.span_id
    assert (span.kind, dict(span.attributes or {})) == (SpanKind.CONSUMER, {"a": 1})


def test_what_is_raised_fails_a_span_without_what_it_says(
    recording: Tracer, spans: InMemorySpanExporter
) -> None:
    with (
        pytest.raises(ValueError, match="a ticket"),
        span_of(recording, "attempt", kind=SpanKind.CONSUMER, parent=None, facts={}),
    ):
        raise ValueError("a ticket")
    (span,) = spans.get_finished_spans()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "ValueError")
    assert not span.events


def test_a_span_that_is_over_has_the_times_that_are_told(
    recording: Tracer, spans: InMemorySpanExporter
) -> None:
    later = NOW + timedelta(milliseconds=1500)
    record_past(recording, "waits", parent=PARENT, began=NOW, ended=later, facts={"a": "b"})
    (span,) = spans.get_finished_spans()
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.start_time == int(NOW.timestamp()) * 10**9
    assert span.end_time - span.start_time == 1_500_000_000
