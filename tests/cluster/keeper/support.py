"""A Deployment that plays SecureChange, in a namespace of its own, and the keeper's commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uuid_utils
import yaml
from kubernetes import client, config
from kubernetes.stream import stream

from tests.support.conditions import eventually_true

IMAGE = "docker.io/library/python:3.13-slim-bookworm"
DIRECTORY = "/opt/tufin/data/securechange/scripts"
LABELS = {"app": "securechange"}
ROLE = Path(__file__).parents[3] / "deploy" / "kubernetes-shim" / "role.yaml"
_untyped: Any = client.ApiClient
_load: Any = config.load_kube_config
_STAY = "trap 'exit 1' TERM; while :; do sleep 1 & wait; done"
"""What is process 1 ends at SIGTERM only if it asks for it."""


@contextmanager
def connected() -> Iterator[None]:
    """Use the cluster of KUBECONFIG, by one client for the whole test."""
    assert "KUBECONFIG" in os.environ, (
        "these tests need a cluster: run tests/run --cluster, or pytest in its network with"
        " KUBECONFIG naming its kubeconfig"
    )
    _load(os.environ["KUBECONFIG"])
    with _client() as api:
        _untyped.set_default(api)
        yield


@contextmanager
def _client() -> Iterator[Any]:
    """Its own `close` leaves connections to the garbage collector, which warns of them."""
    api = _untyped()
    try:
        yield api
    finally:
        api.rest_client.pool_manager.clear()
        api.close()


def core() -> Any:
    """The API of pods, by the test's client; Any, as its models may be plain documents."""
    return client.CoreV1Api(_untyped.get_default())


def apps() -> Any:
    """That of Deployments."""
    return client.AppsV1Api(_untyped.get_default())


def rbac() -> Any:
    """That of Roles."""
    return client.RbacAuthorizationV1Api(_untyped.get_default())


def address() -> str:
    """Where this process listens for pods: in the tests' own cluster the node is this machine."""
    if named := os.environ.get("TEST_HOST_ADDRESS"):
        return named
    (node, *_) = core().list_node().items
    return str(next(one.address for one in node.status.addresses if one.type == "InternalIP"))


@contextmanager
def namespace() -> Iterator[str]:
    """A namespace of a random name, which is removed afterwards with all that is in it."""
    name = f"keeper-{uuid_utils.uuid4().hex[:12]}"
    core().create_namespace({"metadata": {"name": name}})
    try:
        eventually_true(
            lambda: [
                account
                for account in core().list_namespaced_service_account(name).items
                if account.metadata.name == "default"
            ]
        )
        yield name
    finally:
        core().delete_namespace(name, grace_period_seconds=0)


@dataclass(frozen=True, kw_only=True)
class SecureChange:
    """The Deployment."""

    namespace: str
    prepare: str = ""
    """what the container does to itself before it stays"""
    replicas: int = 1
    read_only: bool = False
    environment: dict[str, str] = field(default_factory=dict)

    def deploy(self) -> None:
        """Start it, and wait for its pods."""
        apps().create_namespaced_deployment(self.namespace, self._deployment())
        eventually_true(lambda: len(self.running()) == self.replicas)

    def running(self) -> list[str]:
        """Names of the pods in which something can be run."""
        return [
            pod.metadata.name
            for pod in self._pods()
            if not pod.metadata.deletion_timestamp
            and pod.status.container_statuses
            and all(one.state.running for one in pod.status.container_statuses)
        ]

    def run(self, shell: str, *, pod: str = "") -> str:
        """What a line of shell prints in a pod, by default the first."""
        name = pod or self.running()[0]
        with _client() as api:  # of its own: it is changed by `stream`
            said = stream(
                client.CoreV1Api(api).connect_get_namespaced_pod_exec,
                name,
                self.namespace,
                command=["sh", "-c", shell],
                stderr=True,
                stdout=True,
                stdin=False,
                tty=False,
                _preload_content=False,
            )
            try:
                said.run_forever(timeout=60)
                return str(said.read_all())
            finally:
                said.sock.shutdown()  # its `close` does not, when the other side closed first

    def path(self, name: str) -> str:
        """Of a file in the pod."""
        return f"{DIRECTORY}/{name}"

    def kill_pod(self) -> str:
        """Delete the first pod as a node that dies does; its name. Another comes back empty."""
        name = self.running()[0]
        core().delete_namespaced_pod(name, self.namespace, grace_period_seconds=0)
        return name

    def restart_container(self) -> int:
        """End the container in the first pod, and wait for the next; how often it has."""
        (pod,) = self._pods()
        before = pod.status.container_statuses[0].restart_count
        self.run("kill 1")

        def restarts() -> int:
            (pod,) = self._pods()
            status = pod.status.container_statuses[0]
            return int(status.restart_count) if status.state.running else 0

        eventually_true(lambda: restarts() > before)
        return restarts()

    def events(self) -> list[tuple[str, str]]:
        """Reason and message of the Events on pods that the keeper wrote."""
        return [
            (event.reason, event.message)
            for event in core().list_namespaced_event(self.namespace).items
            if event.source.component == "mediator-shim-keeper"
        ]

    def _pods(self) -> Sequence[Any]:
        found = core().list_namespaced_pod(self.namespace, label_selector="app=securechange")
        return list(found.items)

    def _deployment(self) -> dict[str, Any]:
        container: dict[str, Any] = {
            "name": "server",
            "image": IMAGE,
            "imagePullPolicy": "Never",
            "command": ["sh", "-c", f"mkdir -p {DIRECTORY}; {self.prepare or ':'}; {_STAY}"],
        }
        volumes = []
        if self.read_only:
            container["volumeMounts"] = [{"name": "v", "mountPath": DIRECTORY, "readOnly": True}]
            volumes = [{"name": "v", "emptyDir": {}}]
        return {
            "metadata": {"name": "securechange"},
            "spec": {
                "replicas": self.replicas,
                "selector": {"matchLabels": LABELS},
                "template": {
                    "metadata": {"labels": LABELS},
                    "spec": {
                        "containers": [container],
                        "volumes": volumes,
                        "terminationGracePeriodSeconds": 1,
                    },
                },
            },
        }


@dataclass(frozen=True, kw_only=True)
class Commands:
    """`mediator shim` with the settings of a directory."""

    config: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(
            self.words(*words),
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )

    def words(self, *words: str) -> list[str]:
        """The command line."""
        return [sys.executable, "-m", "mediator", "shim", *words, "--config", str(self.config)]


def account(namespace: str, directory: Path, *, without: tuple[str, str] | None = None) -> Path:
    """A kubeconfig that may do what deploy/kubernetes-shim/role.yaml allows.

    `without`: resource and verb that are left out of it.
    """
    made, role, binding = yaml.safe_load_all(ROLE.read_text())
    for rule in role["rules"]:
        if without is not None and without[0] in rule["resources"]:
            rule["verbs"].remove(without[1])
    role["rules"] = [rule for rule in role["rules"] if rule["verbs"]]
    binding["subjects"][0]["namespace"] = namespace
    core().create_namespaced_service_account(namespace, made)
    rbac().create_namespaced_role(namespace, role)
    rbac().create_namespaced_role_binding(namespace, binding)
    token = (
        core()
        .create_namespaced_service_account_token(
            made["metadata"]["name"], namespace, {"spec": {"expirationSeconds": 3600}}
        )
        .status.token
    )
    written = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    written["users"][0]["user"] = {"token": token}
    path = directory / "keeper.kubeconfig"
    path.write_text(json.dumps(written))
    return path
