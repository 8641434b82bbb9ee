"""deploy/kubernetes-shim/role.yaml is enough, and nothing in it is too much."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.keeper.conftest import Configure
from tests.cluster.keeper.support import SecureChange, account
from tests.cluster.keeper.watch import watched


def test_the_role_is_enough(namespace: str, configure: Configure, tmp_path: Path) -> None:
    pod = SecureChange(namespace=namespace)
    pod.deploy()
    shim = configure(kubeconfig=str(account(namespace, tmp_path)))
    pushed = shim.run("push")
    assert pushed.returncode == 0, pushed.stdout + pushed.stderr
    assert shim.run("verify").returncode == 0
    pod.run("rm /opt/tufin/data/securechange/scripts/notify.sh")
    with watched(shim) as watch:
        watch.until("shim kept")
        assert "Kubernetes not heard" not in watch.log()
        assert "event not written" not in watch.log()
    assert [reason for reason, _ in pod.events()] == ["ShimPutBack"]


def test_without_list_a_sentence_names_verb_and_resource(
    namespace: str, configure: Configure, tmp_path: Path
) -> None:
    kubeconfig = account(namespace, tmp_path, without=("pods", "list"))
    found = configure(kubeconfig=str(kubeconfig)).run("verify")
    assert found.returncode == 75
    assert found.stderr == f"mediator: may not list pods in namespace {namespace} (403).\n"


def test_without_exec_a_sentence_names_verb_and_resource(
    namespace: str, configure: Configure, tmp_path: Path
) -> None:
    SecureChange(namespace=namespace).deploy()
    kubeconfig = account(namespace, tmp_path, without=("pods/exec", "get"))
    found = configure(kubeconfig=str(kubeconfig)).run("verify")
    assert found.returncode == 75
    assert f"may not get and create pods/exec in namespace {namespace} (403)" in found.stdout


def test_without_watch_the_log_says_so_and_pods_are_put_right_all_the_same(
    namespace: str, configure: Configure, tmp_path: Path
) -> None:
    SecureChange(namespace=namespace).deploy()
    kubeconfig = account(namespace, tmp_path, without=("pods", "watch"))
    with watched(configure(kubeconfig=str(kubeconfig))) as watch:
        watch.until("shim kept")
        watch.until(f"may not watch pods in namespace {namespace} (403)")


def test_without_events_it_is_said_once_and_the_work_goes_on(
    namespace: str, configure: Configure, tmp_path: Path
) -> None:
    pod = SecureChange(namespace=namespace)
    pod.deploy()
    kubeconfig = account(namespace, tmp_path, without=("events", "create"))
    with watched(configure(kubeconfig=str(kubeconfig))) as watch:
        watch.until("shim kept")
        pod.restart_container()
        watch.until("shim kept", times=2)
        refused = [line for line in watch.lines() if line["event"] == "event not written"]
    (line,) = refused
    assert line["reason"] == f"may not create events in namespace {namespace} (403)"
    assert pod.events() == []
