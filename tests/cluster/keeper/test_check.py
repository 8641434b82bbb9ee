"""`mediator check --kubernetes` against a real cluster."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.cluster.keeper.conftest import Configure
from tests.cluster.keeper.support import SecureChange, account, address, core
from tests.support.conditions import eventually_true
from tests.support.mediator import Mediator

_RUNNER_IMAGE = "docker.io/library/python:3.13-slim-bookworm"


def check(config: Path) -> tuple[int, dict[str, list[tuple[str, str]]]]:
    """The exit code; state and detail of what each part was found to be, by its name."""
    done = subprocess.run(
        [sys.executable, "-m", "mediator", "check", "--kubernetes", "--json", "-c", str(config)],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for item in json.loads(done.stdout)["items"]:
        found.setdefault(item["what"], []).append((item["state"], item["detail"]))
    return done.returncode, found


def test_a_role_that_is_whole_passes_with_a_line_each(
    namespace: str, configure: Configure, tmp_path: Path
) -> None:
    pod = SecureChange(namespace=namespace)
    pod.deploy()
    shim = configure(kubeconfig=str(account(namespace, tmp_path)))
    code, found = check(shim.config)
    assert code == 0
    ((state, detail),) = found["shim: cluster"]
    assert (state, detail.split(".")[0]) == ("ok", "Kubernetes v1")
    for right in ("list pods", "watch pods", "get pods/exec", "create pods/exec", "create events"):
        assert found[f"shim: {right}"] == [("ok", f"allowed in namespace {namespace}")]
    assert found["shim: pods"] == [("ok", f"{pod.running()[0]} (container server)")]


def test_a_verb_that_is_missing_is_named_with_what_to_do(
    namespace: str, configure: Configure, tmp_path: Path
) -> None:
    kubeconfig = account(namespace, tmp_path, without=("pods/exec", "create"))
    code, found = check(configure(kubeconfig=str(kubeconfig)).config)
    assert code == 1
    ((state, detail),) = found["shim: create pods/exec"]
    assert state == "not allowed"
    assert detail == (
        f"may not create pods/exec in namespace {namespace};"
        " apply deploy/kubernetes-shim/role.yaml there."
    )


def test_a_verb_that_is_not_necessary_is_a_warning(
    namespace: str, configure: Configure, tmp_path: Path
) -> None:
    SecureChange(namespace=namespace).deploy()
    kubeconfig = account(namespace, tmp_path, without=("events", "create"))
    code, found = check(configure(kubeconfig=str(kubeconfig)).config)
    assert code == 0
    assert [state for state, _ in found["shim: create events"]] == ["warning"]


def test_a_cluster_that_does_not_answer_is_told(
    namespace: str, configure: Configure, tmp_path: Path
) -> None:
    kubeconfig = account(namespace, tmp_path)
    document = json.loads(kubeconfig.read_text())
    document["clusters"][0]["cluster"]["server"] = f"https://{address()}:1"
    kubeconfig.write_text(json.dumps(document))
    code, found = check(configure(kubeconfig=str(kubeconfig)).config)
    assert code == 1
    ((state, detail),) = found["shim: cluster"]
    assert state == "unreachable"
    assert detail.startswith("the API server cannot be reached (")


def runner(mediator: Mediator, namespace: str, **more: Any) -> Path:
    """Settings with a kubernetes runner in the namespace."""
    section = {"enabled": True, "namespace": namespace, "image": _RUNNER_IMAGE, **more}
    mediator.configure({"kubernetes": section})
    return mediator.config


def test_a_runner_is_checked_with_its_image_and_quota(namespace: str, mediator: Mediator) -> None:
    hard = {"hard": {"pods": "0", "secrets": "1000"}}
    core().create_namespaced_resource_quota(namespace, {"metadata": {"name": "team"}, "spec": hard})

    def counted() -> bool:
        (quota,) = core().list_namespaced_resource_quota(namespace).items
        return bool(quota.status and quota.status.used)

    eventually_true(counted)
    code, found = check(runner(mediator, namespace))
    assert code == 0
    assert found["runner: create jobs"] == [("ok", f"allowed in namespace {namespace}")]
    ((state, detail),) = found["runner: image"]
    assert (state, detail.split(";")[0]) == ("ok", _RUNNER_IMAGE)
    assert found["runner: quota"] == [("warning", "team: used up: pods 0 of 0")]


def test_a_runner_without_its_rights_would_not_start(
    namespace: str, mediator: Mediator, tmp_path: Path
) -> None:
    kubeconfig = str(account(namespace, tmp_path))  # the keeper's: it may make no Job
    code, found = check(runner(mediator, namespace, kubeconfig=kubeconfig))
    assert code == 78
    ((state, detail),) = found["runner: create jobs"]
    assert state == "error"
    assert detail.startswith(f"may not create jobs in namespace {namespace};")
    ((state, detail),) = found["runner: quota"]
    assert (state, "may not list resourcequotas" in detail) == ("ok", True)
