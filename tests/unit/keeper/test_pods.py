"""Which container of a pod is meant, and whether something can be run in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from mediator.errors import SettingsError
from mediator.keeper.pods import Selection, pod_of

ANY = Selection(selector="app=sc", container=None)
RUNNING = {
    "state": {"running": {"startedAt": "2026-01-31T03:12:44Z"}},
    "containerID": "containerd://1",
}


def document(
    *, metadata: Mapping[str, Any] | None = None, statuses: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    return {
        "metadata": {"name": "sc-1", "uid": "u1", **(metadata or {})},
        "spec": {"containers": [{"name": "proxy"}, {"name": "server"}]},
        "status": {"phase": "Running", "containerStatuses": statuses},
    }


def test_the_first_container_is_meant_where_nothing_else_is_said() -> None:
    pod = pod_of(document(statuses=[{"name": "proxy", **RUNNING}]), ANY)
    assert (pod.place.container, pod.why_not) == ("proxy", "")


def test_the_pods_own_default_container_is_meant_before_that() -> None:
    annotations = {"kubectl.kubernetes.io/default-container": "server"}
    pod = pod_of(document(metadata={"annotations": annotations}), ANY)
    assert pod.place.container == "server"


def test_the_settings_win() -> None:
    chosen = Selection(selector="app=sc", container="server")
    assert pod_of(document(), chosen).place.container == "server"


def test_a_container_that_is_not_there_is_told_with_those_that_are() -> None:
    chosen = Selection(selector="app=sc", container="x")
    assert pod_of(document(), chosen).why_not == (
        "it has no container x, but proxy, server; see shim.container"
    )


@pytest.mark.parametrize(
    ("made", "why_not"),
    [
        pytest.param(
            document(statuses=None),
            "its container proxy does not run (the pod is Running)",
            id="no status yet",
        ),
        pytest.param(
            document(statuses=[{"name": "proxy", "state": {"waiting": {}}}]),
            "its container proxy does not run (the pod is Running)",
            id="waiting",
        ),
        pytest.param(
            document(
                metadata={"deletionTimestamp": "2026-01-31T03:12:44Z"},
                statuses=[{"name": "proxy", **RUNNING}],
            ),
            "it is being deleted",
            id="deleted",
        ),
    ],
)
def test_a_pod_in_which_nothing_can_be_run_says_why(made: dict[str, Any], why_not: str) -> None:
    assert pod_of(made, ANY).why_not == why_not


def test_a_container_that_started_again_is_another_life_of_the_same_pod() -> None:
    first = pod_of(document(statuses=[{"name": "proxy", **RUNNING}]), ANY)
    again = {**RUNNING, "containerID": "containerd://2"}
    second = pod_of(document(statuses=[{"name": "proxy", **again}]), ANY)
    assert first.uid == second.uid
    assert first.life != second.life


def test_without_a_selector_no_pod_is_looked_for() -> None:
    with pytest.raises(SettingsError, match=r"shim\.selector is not set"):
        Selection(selector=" ", container=None)
