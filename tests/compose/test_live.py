"""The stack of deploy/compose.yaml at work: a ticket by the shim, its metrics, its alerts."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.parse
import urllib.request
from typing import Any

import pytest

from tests.compose.conftest import STARTED, Stack
from tests.support.conditions import eventually_true
from tests.support.mediator import REPOSITORY, SHIM
from tests.support.podman import must, podman

pytestmark = pytest.mark.timeout(1200)  # the first one builds images
TICKET = (REPOSITORY / "deploy" / "quickstart.d" / "ticket.xml").read_bytes()
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def hand_over(stack: Stack, argument: str) -> str:
    """A ticket for hello.sh, by the real shim; the delivery's id."""
    told = subprocess.run(
        ["/bin/bash", str(SHIM), "hello", argument],
        input=TICKET,
        capture_output=True,
        check=False,
        timeout=120,
        env={
            "PATH": os.environ["PATH"],
            "SCW_EVENT": "CREATE",
            "MEDIATOR_URL": stack.url("mediator", 8080),
            "MEDIATOR_KEY_ID": "securechange",
            "MEDIATOR_KEY_FILE": str(stack.secret("securechange.key")),
        },
    )
    assert told.returncode == 0, told.stderr
    return told.stderr.decode().partition("delivery ")[2].split()[0].strip(".,;:")


def delivery(stack: Stack, identifier: str) -> dict[str, Any]:
    shown = must(
        *("exec", stack.container("mediator"), "mediator"),
        *("deliveries", "show", identifier, "--json"),
    )
    found: dict[str, Any] = json.loads(shown)
    return found


def await_success(stack: Stack, identifier: str) -> dict[str, Any]:
    eventually_true(lambda: delivery(stack, identifier)["state"] == "succeeded")
    return delivery(stack, identifier)


def ask(url: str) -> Any:
    with _DIRECT.open(url, timeout=30) as answer:
        return json.load(answer)["data"]


def query(stack: Stack, expression: str) -> list[float]:
    where = f"{stack.url('prometheus', 9090)}/api/v1/query?"
    found = ask(where + urllib.parse.urlencode({"query": expression}))
    return [float(series["value"][1]) for series in found["result"]]


def test_a_ticket_runs_its_script(stack: Stack) -> None:
    found = await_success(stack, hand_over(stack, "first"))
    assert found["attempts"][0]["stdout"] == "CREATE of ticket 4711\n"


def test_what_was_taken_outlives_the_containers(stack: Stack) -> None:
    identifier = hand_over(stack, "kept")
    await_success(stack, identifier)
    stack.compose("down")
    stack.compose("up", "--detach", "--no-build", *STARTED)
    stack.await_healthy("mediator")
    assert delivery(stack, identifier)["state"] == "succeeded"


def test_a_stop_is_an_orderly_one(stack: Stack) -> None:
    stack.compose("stop", "mediator")
    state = must("inspect", "--format", "{{.State.ExitCode}}", stack.container("mediator"))
    assert state == "0"
    stack.compose("start", "mediator")
    stack.await_healthy("mediator")


def test_prometheus_sees_the_mediator_and_has_the_rules(stack: Stack) -> None:
    eventually_true(lambda: query(stack, 'up{job="mediator"}') == [1.0])
    groups = ask(f"{stack.url('prometheus', 9090)}/api/v1/rules")["groups"]
    assert any(rule["name"] == "MediatorDown" for group in groups for rule in group["rules"])
    assert all(rule["health"] != "err" for group in groups for rule in group["rules"])


def test_prometheus_tells_alertmanager(stack: Stack) -> None:
    where = f"{stack.url('prometheus', 9090)}/api/v1/alertmanagers"

    def known() -> list[str]:
        return [found["url"] for found in ask(where)["activeAlertmanagers"]]

    eventually_true(lambda: known() == ["http://alertmanager:9093/api/v2/alerts"])


@pytest.mark.parametrize("service", STARTED)
def test_a_service_has_no_rights_and_no_root(stack: Stack, service: str) -> None:
    pid = must("inspect", "--format", "{{.State.Pid}}", stack.container(service))
    told = must("exec", stack.container(service), "cat", "/proc/1/status")
    status = dict(line.split(":\t", 1) for line in told.splitlines() if ":\t" in line)
    assert int(pid) > 1
    assert int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert status["Uid"].split()[0] != "0"
    assert podman("exec", stack.container(service), "touch", "/etc/mine").returncode != 0
