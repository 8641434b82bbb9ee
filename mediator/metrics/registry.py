"""The registry: every metric in one object, and the page of them.

docs/reference/metrics.md lists them. Label values come from closed sets: scripts of the catalog,
and the words of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from mediator.metrics.deliveries import AttemptMetrics, BacklogMetrics, IntakeMetrics
from mediator.metrics.labels import ScriptNames
from mediator.metrics.recent import Recent
from mediator.metrics.system import CatalogMetrics, ProcessMetrics, StoreMetrics

CLASSIC = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_openmetrics = cast("Callable[[CollectorRegistry], bytes]", generate_openmetrics)  # untyped there

# A series that says when another began doubles the page and answers no question here.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """Everything the mediator counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.names = ScriptNames()
        self.recent = Recent()
        """what was taken and done lately, for who asks the mediator itself"""
        self.intake = IntakeMetrics(self.registry, self.names, self.recent)
        """is it taking work"""
        self.attempts = AttemptMetrics(self.registry, self.names, self.recent)
        """what fails and why, and who is slow"""
        self.backlog = BacklogMetrics(self.registry, self.names)
        """is it keeping up, and was anything lost"""
        self.catalog = CatalogMetrics(self.registry)
        """can every script run"""
        self.store = StoreMetrics(self.registry)
        """will it fill up"""
        self.process = ProcessMetrics(self.registry)
        """how is the daemon itself"""

    def know(self, scripts: Mapping[str, bool]) -> None:
        """These are the scripts there are now; the value: whether its callers wait.

        Their counters begin at 0: from a series that begins at 1 Prometheus cannot tell that
        anything has happened.
        """
        self.names.know(scripts)
        for script, interactive in scripts.items():
            self.attempts.begin(script, interactive=interactive)
            if interactive:
                self.intake.begin(script)

    def page(self, accept: str = "") -> Page:
        """What Prometheus scrapes; `accept`: the header by which it says what it can read."""
        return page(self.registry, accept)


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One scrape."""

    content_type: str
    body: bytes


def page(registry: CollectorRegistry, accept: str) -> Page:
    """OpenMetrics where it is accepted, before or instead of text; else the classic text."""
    ranges = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    wanted = [name for name in ranges if name in {"application/openmetrics-text", "text/plain"}]
    if wanted[:1] == ["application/openmetrics-text"]:
        return Page(content_type=OPENMETRICS, body=_openmetrics(registry))
    return Page(content_type=CLASSIC, body=generate_latest(registry))
