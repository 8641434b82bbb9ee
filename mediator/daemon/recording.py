"""Who records spans, by the settings."""

from __future__ import annotations

from importlib import import_module

from mediator.errors import SettingsError
from mediator.settings.tree import Tracing
from mediator.tracing.port import NoTracer, Tracer


def make_tracer(settings: Tracing) -> Tracer:
    """The recorder of spans. Raises `SettingsError` when its libraries are not installed."""
    if not settings.enabled:
        return NoTracer()
    try:
        # Not at the top: the libraries are an extra, and cost time and memory where unused.
        otlp = import_module("mediator.tracing.otlp")
    except ImportError as error:
        raise SettingsError(
            "tracing.enabled: spans need OpenTelemetry's libraries; install"
            " securechange-mediator[tracing], or turn it off"
        ) from error
    tracer: Tracer = otlp.OtlpTracer(settings.endpoint)
    return tracer
