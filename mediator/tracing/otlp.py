"""Spans recorded by OpenTelemetry's SDK, sent by OTLP over HTTP from a thread of its own.

Needs the extra `tracing`; nothing imports this module unless `tracing.enabled` is set. What the
settings do not say is said by OpenTelemetry's own variables: `OTEL_EXPORTER_OTLP_HEADERS`,
`OTEL_TRACES_SAMPLER`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_BSP_*` and the others
(https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from contextlib import suppress

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

import mediator

_log = structlog.get_logger()
_LAST = 5.0
"""Seconds that the last spans get to be sent."""


class OtlpExport:
    """Records the spans of `tracer`. When its queue is full, spans are dropped; nothing waits."""

    def __init__(self, endpoint: str | None) -> None:
        """`endpoint`: base URL of the collector; None: what OpenTelemetry's variables say."""
        # What they say is told by the exporter below, in one line and once.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        url = None if endpoint is None else f"{endpoint.rstrip('/')}/v1/traces"
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        exporter = _LoggedExporter(OTLPSpanExporter(url))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self.tracer = self._provider.get_tracer("mediator", mediator.__version__)

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


class _LoggedExporter(SpanExporter):
    """Sends spans, and logs once when that begins to fail and when it works again."""

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
