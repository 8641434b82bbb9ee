"""The metrics, one object with a registry of its own. docs/reference/metrics.md lists them.

Label values come from closed sets: scripts of the catalog, and the words of the model.
"""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, disable_created_metrics

from mediator.metrics.attempts import Attempts
from mediator.metrics.backlog import Backlog
from mediator.metrics.catalog import Catalog
from mediator.metrics.intake import Intake
from mediator.metrics.names import ScriptNames
from mediator.metrics.page import Page, page
from mediator.metrics.process import Process
from mediator.metrics.store import Store

# A series that says when another began doubles the page and answers no question here.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """Everything the mediator counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.names = ScriptNames()
        self.intake = Intake(self.registry, self.names)
        """is it taking work"""
        self.attempts = Attempts(self.registry, self.names)
        """what fails and why, and who is slow"""
        self.backlog = Backlog(self.registry, self.names)
        """is it keeping up, and was anything lost"""
        self.catalog = Catalog(self.registry)
        """can every script run"""
        self.store = Store(self.registry)
        """will it fill up"""
        self.process = Process(self.registry)
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
