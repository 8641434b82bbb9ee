"""A cluster, a namespace in it, and scripts that pods find in a directory of the node."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mediator.kube.client import Cluster, KubernetesClient, KubernetesError, Manifest, connect
from mediator.model.policy import Limits, Pod
from mediator.runners.port import Run
from mediator.settings.kubernetes import Kubernetes
from tests.integration.runners.support import DEADLINE, Scripts
from tests.support.conditions import eventually

IMAGE = "docker.io/library/python:3.13-slim-bookworm"
HOW = (
    "these tests need a cluster: run `tests/run --cluster`, or set KUBECONFIG to one whose node is "
    f"this machine and has the image {IMAGE}"
)
NAMESPACES = "/api/v1/namespaces"


def kubeconfig() -> Path:
    """What names the cluster."""
    named = os.environ.get("KUBECONFIG")
    assert named, HOW
    return Path(named)


@asynccontextmanager
async def client_to(namespace: str, config: Path | None = None) -> AsyncIterator[KubernetesClient]:
    cluster = Cluster(kubeconfig=config or kubeconfig(), context=None, namespace=namespace)
    async with connect(cluster) as client:
        yield client


@asynccontextmanager
async def new_namespace() -> AsyncIterator[KubernetesClient]:
    """An empty namespace, removed in the end."""
    name = f"runner-{uuid.uuid4().hex[:8]}"
    async with client_to(name) as client:
        await client.create(NAMESPACES, {"metadata": {"name": name}})
        try:
            await eventually(lambda: exists(client, client.core("serviceaccounts", "default")))
            yield client
        finally:
            await client.delete(f"{NAMESPACES}/{name}")


async def exists(client: KubernetesClient, path: str) -> bool:
    try:
        await client.get(path)
    except KubernetesError as error:
        if error.code == 404:
            return False
        raise
    return True


async def left(client: KubernetesClient) -> list[str]:
    """Everything of attempts that there is in the namespace."""
    found = []
    for path in (client.jobs(), client.core("pods"), client.core("secrets")):
        answer = await client.get(path, labelSelector="app.kubernetes.io/managed-by")
        found += [item["metadata"]["name"] for item in answer["items"]]
    return found


def settings(namespace: str, directory: Path, **changes: Any) -> Kubernetes:
    """The section of the settings, read."""
    return Kubernetes.model_validate(section(namespace, directory, **changes))


def section(
    namespace: str, directory: Path, *, shared: tuple[Path, ...] = (), **changes: Any
) -> dict[str, Any]:
    """Pods of this node find the scripts, and what is shared, where this machine has them."""
    places = dict(enumerate((directory, *shared)))
    mounts = [{"name": f"host-{n}", "mountPath": str(path)} for n, path in places.items()]
    template: Manifest = {
        "spec": {
            "volumes": [
                {"name": f"host-{n}", "hostPath": {"path": str(path)}} for n, path in places.items()
            ],
            "containers": [
                {"name": "script", "imagePullPolicy": "Never", "volumeMounts": mounts},
                {"name": "stderr", "imagePullPolicy": "Never"},
            ],
        }
    }
    return {
        "enabled": True,
        "kubeconfig": str(kubeconfig()),
        "namespace": namespace,
        "image": IMAGE,
        "scripts": {"directory": str(directory)},
        "pod_template": template,
        **changes,
    }


class PodScripts(Scripts):
    """Scripts for pods, whose user is another one than that of these tests."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        directory.chmod(0o777)

    def python(self, text: str) -> Path:
        return self.write(f"#!/usr/bin/env -S python3 -IS\n{text}\n")

    def run(
        self,
        program: Path,
        *arguments: str,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        timeout: float = DEADLINE,
        grace: float = DEADLINE,
        limits: Limits | None = None,
        warm: Any = None,
        pod: Pod | None = None,
        name: str = "",
    ) -> Run:
        del warm
        return Run(
            name=name or f"{uuid.uuid4()}-1",
            program=self._inside(program),
            arguments=arguments,
            environment={"MARKER": self.marker} if environment is None else environment,
            stdin=stdin,
            timeout=timeout,
            grace=grace,
            limits=limits or Limits(),
            pod=pod or Pod(),
            script=program.name,
        )

    def _inside(self, program: Path) -> Path:
        """A program of the image is run through a link in the directory of the scripts."""
        if self.directory in (program.parent, program):
            return program
        link = self.directory / program.name
        if not link.is_symlink():
            link.symlink_to(program)
        return link
