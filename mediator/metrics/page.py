"""The text that Prometheus scrapes, in the format that it asks for.

Only OpenMetrics can carry exemplars, so it is what a Prometheus gets that accepts it. The library
can write no native histograms (prometheus-client 0.26), so the protobuf format, which Prometheus
reads them from, would be the classic text in another dress.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

CLASSIC = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One scrape."""

    content_type: str
    body: bytes


_openmetrics = cast("Callable[[CollectorRegistry], bytes]", generate_openmetrics)  # untyped there


def page(registry: CollectorRegistry, accept: str) -> Page:
    """OpenMetrics where it is accepted, before or instead of text; else the classic text."""
    ranges = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    wanted = [name for name in ranges if name in {"application/openmetrics-text", "text/plain"}]
    if wanted[:1] == ["application/openmetrics-text"]:
        return Page(content_type=OPENMETRICS, body=_openmetrics(registry))
    return Page(content_type=CLASSIC, body=generate_latest(registry))
