"""A delivery is a part of its caller's trace, now and after a restart, and tells of it in spans."""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.collector import Collector, collecting
from tests.support.conditions import eventually, eventually_true
from tests.support.mediator import CANARY, Client, Handover, Mediator
from tests.support.scripts import gated

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
HEADERS = {"traceparent": PARENT, "tracestate": "rojo=1"}
TELLS = """#!/usr/bin/env python3
import json, os, sys
print(json.dumps({k: v for k, v in os.environ.items() if k.startswith("TRACE")}))
"""


def told(delivery: dict[str, Any], attempt: int = -1) -> Any:
    return json.loads(delivery["attempts"][attempt]["stdout"])


@pytest.fixture(scope="module")
def mediator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mediator]:
    """For tickets of a script each; who started it had a trace of its own."""
    environment = {"TRACEPARENT": f"00-{TRACE[::-1]}-{SPAN}-01"}
    mediator = Mediator(tmp_path_factory.mktemp("mediator"), environment=environment)
    for name in ("traced.py", "untraced.py", "called.py"):
        mediator.script(name, TELLS)
    with mediator:
        yield mediator


class TestPassingOn:
    async def test_a_script_is_told_the_trace_that_its_ticket_came_in(
        self, mediator: Mediator
    ) -> None:
        async with Client(mediator.url) as client:
            answer = await client.hand_over(Handover(script="traced", headers=HEADERS))
            delivery = await client.until(answer.delivery, "succeeded")
        assert told(delivery) == {"TRACEPARENT": PARENT, "TRACESTATE": "rojo=1"}
        assert delivery["trace_id"] == TRACE
        lines = [json.loads(line) for line in mediator.log().splitlines()]
        mine = [line for line in lines if line.get("delivery_id") == answer.delivery]
        assert {line["trace_id"] for line in mine} == {TRACE}
        assert len(mine) == 3

    async def test_the_trace_survives_a_restart(self, tmp_path: Path) -> None:
        gate, mediator = tmp_path / "gate", Mediator(tmp_path)
        mediator.script("tells.py", TELLS + gated(gate, tmp_path / "started"))
        with mediator:
            async with Client(mediator.url) as client:
                answer = await client.hand_over(Handover(script="tells", headers=HEADERS))
                await client.until_running(1)
            mediator.kill()
            gate.touch()
            mediator.start()
            async with Client(mediator.url) as client:
                delivery = await client.until(answer.delivery, "succeeded")
        assert told(delivery)["TRACEPARENT"] == PARENT

    @pytest.mark.parametrize("headers", [{}, {"traceparent": "00-what-is-this"}], ids=repr)
    async def test_without_a_trace_there_is_none(
        self, mediator: Mediator, headers: dict[str, str]
    ) -> None:
        handover = Handover(script="untraced", arguments=[*headers], headers=headers)
        async with Client(mediator.url) as client:
            answer = await client.hand_over(handover)
            delivery = await client.until(answer.delivery, "succeeded")
        assert (told(delivery), delivery["trace_id"]) == ({}, None)

    async def test_the_shim_hands_over_as_a_part_of_the_trace_it_is_called_in(
        self, mediator: Mediator
    ) -> None:
        called = mediator.shim("called", stdin=Handover().body, environment={"TRACEPARENT": PARENT})
        assert called.returncode == 0
        async with Client(mediator.url) as client:
            (item,) = (await client.get("/v1/deliveries?script=called.py")).json()["items"]
            delivery = await client.until(item["id"], "succeeded")
        assert told(delivery) == {"TRACEPARENT": PARENT}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


def traced(home: Path, endpoint: str, **dispatch: Any) -> Mediator:
    settings = {"tracing": {"enabled": True, "endpoint": endpoint}, "dispatch": dispatch}
    return Mediator(home, settings=settings)


async def test_spans_tell_of_the_hand_over_the_wait_and_each_attempt(
    tmp_path: Path, collector: Collector
) -> None:
    mediator = traced(tmp_path, collector.url, retry={"attempts": 2, "first": "1ms"})
    ends = 'print(sys.stdin.read())\nsys.exit(0 if os.environ["MEDIATOR_ATTEMPT"] == "2" else 3)\n'
    mediator.script("tells.py", TELLS + ends)
    with mediator:
        async with Client(mediator.url) as client:
            answer = await client.hand_over(Handover(script="tells.py", headers=HEADERS))
            delivery = await client.until(answer.delivery, "succeeded")
        assert mediator.terminate() == 0  # which sends what is left
    (handed,) = collector.named("hand-over")
    (waited,) = collector.named("delivery waits")
    first, second = collector.named("attempt")
    assert (handed.trace_id, handed.parent) == (TRACE, SPAN)
    assert {span.trace_id for span in collector.spans} == {TRACE}
    assert {span.parent for span in (waited, first, second)} == {handed.span_id}
    assert (handed.kind, waited.kind, first.kind) == (2, 1, 5)  # server, internal, consumer
    assert handed.facts == {
        "http.request.method": "POST",
        "http.route": "/v1/scripts/{script}/deliveries",
        "http.response.status_code": 202,
        "mediator.script": "tells.py",
        "mediator.delivery_id": answer.delivery,
        "mediator.request_id": answer.headers["X-Request-ID"],
    }
    named = {
        "mediator.delivery_id": answer.delivery,
        "mediator.ticket_id": "1",
        "mediator.script": "tells.py",
    }
    assert waited.facts == {**named, "mediator.attempt": 1}
    ended = {"mediator.outcome": "failed", "mediator.state": "pending", "process.exit.code": 3}
    assert first.facts == {**named, "mediator.attempt": 1, **ended}
    assert [first.failed, second.failed, handed.failed] == [True, False, False]
    assert all(span.seconds >= 0 for span in collector.spans)
    parents = [json.loads(a["stdout"].splitlines()[0])["TRACEPARENT"] for a in delivery["attempts"]]
    assert parents == [f"00-{TRACE}-{span.span_id}-01" for span in (first, second)]
    assert collector.services == {"mediator"}
    assert CANARY.encode() not in collector.bodies


async def test_a_hand_over_without_a_trace_begins_one(tmp_path: Path, collector: Collector) -> None:
    mediator = traced(tmp_path, collector.url)
    mediator.script("tells.py", TELLS)
    with mediator:
        async with Client(mediator.url) as client:
            answer = await client.hand_over(Handover(script="tells"))
            delivery = await client.until(answer.delivery, "succeeded")
            refused = await client.hand_over(Handover(script="nobody"))
        assert mediator.terminate() == 0
    handed, failed = collector.named("hand-over")
    assert (handed.parent, handed.trace_id) == ("", delivery["trace_id"])
    assert told(delivery)["TRACEPARENT"].split("-")[1] == handed.trace_id
    assert (refused.status, failed.facts["http.response.status_code"]) == (404, 404)


async def test_a_collector_that_is_away_costs_spans_and_nothing_else(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # takes connections, answers nothing
        endpoint = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        mediator = traced(tmp_path, endpoint)
        mediator.script("tells.py", TELLS)
        with mediator:
            async with Client(mediator.url) as client:
                answer = await client.hand_over(Handover(script="tells"))
                await client.until(answer.delivery, "succeeded")
            assert mediator.terminate() == 0
        assert mediator.events("last spans not exported")


async def test_a_collector_that_nobody_finds_is_told_once_until_it_is_back(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    hurry = {"OTEL_BSP_SCHEDULE_DELAY": "10", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    mediator = traced(tmp_path, f"http://127.0.0.1:{port}")
    mediator.environment = hurry
    mediator.script("tells.py", TELLS)
    with mediator:
        async with Client(mediator.url) as client:

            async def hand_over() -> bool:
                await client.hand_over(Handover(script="nobody"))
                return True

            await hand_over()
            eventually_true(lambda: mediator.events("spans not exported"))
            await hand_over()
            with collecting(port) as collector:
                await eventually(hand_over, until=lambda _: bool(collector.spans))
                eventually_true(lambda: mediator.events("spans exported again"))
    line, *_ = mediator.events("spans not exported")
    assert (line["level"], line["lost"]) == ("warning", 1)
    told = re.findall(r"spans (not exported|exported again)", mediator.log())
    assert told[:2] == ["not exported", "exported again"]
    assert "opentelemetry" not in mediator.log()


BARE = """
import sys
class Nowhere:
    def find_spec(self, name, *_):
        if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter")):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Nowhere())
from mediator.cli.main import main
sys.argv[0] = "mediator"
main()
"""


def test_without_the_extra_one_sentence_says_what_to_install(tmp_path: Path) -> None:
    command = (sys.executable, "-c", BARE)
    mediator = Mediator(tmp_path, settings={"tracing": {"enabled": True}}, command=command)
    refused = mediator.refuse()
    assert refused.returncode == 78
    assert refused.stderr == (
        "mediator: tracing.enabled: spans need OpenTelemetry's libraries; install"
        " securechange-mediator[tracing], or turn it off\n"
    )


def test_without_tracing_its_libraries_are_not_needed(tmp_path: Path) -> None:
    with Mediator(tmp_path, command=(sys.executable, "-c", BARE)) as mediator:
        assert mediator.terminate() == 0
