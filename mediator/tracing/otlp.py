"""Spans by OpenTelemetry's SDK, sent by OTLP over HTTP from a thread of its own.

Needs the extra `tracing`; nothing imports this module unless `tracing.enabled` is set. What the
settings do not say is said by OpenTelemetry's own variables: `OTEL_EXPORTER_OTLP_HEADERS`,
`OTEL_TRACES_SAMPLER`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_BSP_*` and the others
(https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext, SpanKind, StatusCode, TraceFlags, TraceState

import mediator
from mediator.tracing.context import TraceContext
from mediator.tracing.port import Facts, Role, Span

_log = structlog.get_logger()
_LAST = 5.0
"""Seconds that the last spans get to be sent."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS = {
    Role.SERVER: SpanKind.SERVER,
    Role.CONSUMER: SpanKind.CONSUMER,
    Role.INTERNAL: SpanKind.INTERNAL,
}


class OtlpTracer:
    """Implements the port `Tracer`. When its queue is full, spans are dropped; nothing waits."""

    def __init__(self, endpoint: str | None) -> None:
        """`endpoint`: base URL of the collector; None: what OpenTelemetry's variables say."""
        # What they say is told by the exporter below, in one line and once.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        url = None if endpoint is None else f"{endpoint.rstrip('/')}/v1/traces"
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_Telling(OTLPSpanExporter(url))))
        self._tracer = self._provider.get_tracer("mediator", mediator.__version__)

    @contextmanager
    def span(
        self, name: str, *, role: Role, parent: TraceContext | None, facts: Facts
    ) -> Iterator[Span]:
        """A span from now to the end of the block."""
        made = self._tracer.start_span(
            name, context=_around(parent), kind=_KINDS[role], attributes=_known(facts)
        )
        span = _Recorded(made)
        try:
            yield span
        except BaseException as error:
            span.fail(type(error).__name__)
            raise
        finally:
            made.end()

    def past(
        self,
        name: str,
        *,
        parent: TraceContext | None,
        began: datetime,
        ended: datetime,
        facts: Facts,
    ) -> None:
        """A span that is over."""
        made = self._tracer.start_span(
            name, context=_around(parent), attributes=_known(facts), start_time=_nanoseconds(began)
        )
        made.end(end_time=_nanoseconds(ended))

    async def close(self) -> None:
        """Send what is left, for `_LAST` seconds at most."""
        loop = asyncio.get_running_loop()
        sent: asyncio.Future[None] = loop.create_future()

        def send() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # the loop did not wait
                loop.call_soon_threadsafe(sent.set_result, None)

        # A daemon thread: one of an executor would be waited for at the end of the process.
        threading.Thread(target=send, name="last spans", daemon=True).start()
        await asyncio.wait({sent}, timeout=_LAST)
        if not sent.done():
            _log.warning("last spans not exported")


class _Recorded:
    """A span of the SDK."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def context(self) -> TraceContext | None:
        found = self._span.get_span_context()
        return TraceContext(
            trace_id=f"{found.trace_id:032x}",
            span_id=f"{found.span_id:016x}",
            flags=f"{int(found.trace_flags):02x}",
            state=found.trace_state.to_header(),
        )

    def note(self, facts: Facts) -> None:
        self._span.set_attributes(_known(facts))

    def fail(self, reason: str) -> None:
        self._span.set_status(StatusCode.ERROR, reason)


class _Telling(SpanExporter):
    """Sends spans, and tells once when that begins to fail and when it works again."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception:  # noqa: BLE001 - whatever a collector does costs its spans, no more
            result = SpanExportResult.FAILURE
        failing = result is not SpanExportResult.SUCCESS
        if failing and not self._failing:
            _log.warning("spans not exported", lost=len(spans))
        elif self._failing and not failing:
            _log.info("spans exported again")
        self._failing = failing
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _resource() -> Resource:
    found = Resource.create({SERVICE_VERSION: mediator.__version__})
    if str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        found = found.merge(Resource({SERVICE_NAME: "mediator"}))
    return found


def _around(parent: TraceContext | None) -> Context:
    """What the SDK finds a parent in; an empty one makes a new trace."""
    if parent is None:
        return Context()
    context = SpanContext(
        trace_id=int(parent.trace_id, 16),
        span_id=int(parent.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(parent.flags, 16)),
        trace_state=TraceState.from_header([parent.state]),
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(context), Context())


def _known(facts: Facts) -> dict[str, str | int | float | bool]:
    return {name: value for name, value in facts.items() if value is not None}


def _nanoseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000
