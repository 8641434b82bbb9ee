"""The page is written in the format that whoever scrapes asks for."""

from __future__ import annotations

import pytest

from mediator.metrics import Metrics
from mediator.metrics.registry import CLASSIC, OPENMETRICS

PROMETHEUS_2_42 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3_WITH_NATIVE_HISTOGRAMS = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;"
    "q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "text/plain;version=1.0.0;q=0.3,*/*;q=0.1"
)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (PROMETHEUS_2_42, OPENMETRICS),
        (PROMETHEUS_3_WITH_NATIVE_HISTOGRAMS, OPENMETRICS),
        ("application/openmetrics-text", OPENMETRICS),
        ("", CLASSIC),
        ("*/*", CLASSIC),
        ("text/plain, application/openmetrics-text", CLASSIC),
        ("text/html,application/xhtml+xml", CLASSIC),
        ("application/openmetrics-text;version=no;;=", OPENMETRICS),
        (",;,=\x00", CLASSIC),
    ],
)
def test_the_format_is_the_one_that_is_asked_for(accept: str, content_type: str) -> None:
    page = Metrics().page(accept)
    assert page.content_type == content_type
    assert page.body.endswith(b"# EOF\n") is (content_type == OPENMETRICS)


def test_what_begins_at_nothing_is_there_from_the_start() -> None:
    metrics = Metrics()
    metrics.know({"a.py": False, "ask.py": True})
    page = metrics.page().body.decode()
    for series in (
        'mediator_deliveries_ended_total{calls="trigger",script="a.py",state="dead"} 0.0',
        'mediator_interactive_deadline_missed_total{script="ask.py"} 0.0',
        'mediator_fallbacks_total{script="ask.py",trouble="timeout"} 0.0',
        'mediator_signature_failures_total{reason="mismatch"} 0.0',
        'mediator_requests_rejected_total{reason="full",status="503"} 0.0',
    ):
        assert series in page.splitlines(), series
    assert 'deadline_missed_total{script="a.py"}' not in page
