"""Where a pod finds its script: in a ConfigMap, in a volume that is claimed, in its image."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mediator.kube.client import KubernetesClient
from mediator.model.delivery import Ended, Outcome
from tests.cluster.runner.conftest import Recording
from tests.cluster.runner.support import PodScripts, left, settings
from tests.support.conditions import eventually

NO_MOUNTS = {
    "spec": {
        "containers": [{"name": name, "imagePullPolicy": "Never"} for name in ("script", "stderr")]
    }
}
"""The pods of these tests have no directory of the node: what is found is found elsewhere."""
VOLUMES = "/api/v1/persistentvolumes"
SCRIPT = '#!/bin/sh\necho "$0 $1 $(cat)"; echo said >&2\n'


async def run(
    namespace: KubernetesClient, scripts: PodScripts, program: Path, **where: Any
) -> Ended:
    """Run one attempt whose pod finds its script there and nowhere else."""
    section = settings(
        namespace.namespace, scripts.directory, pod_template=NO_MOUNTS, scripts=where
    )
    runner = Recording(section)
    await runner.start()
    try:
        attempt = scripts.run(program, "argument", stdin=b"ticket")
        return await runner.run(attempt, stop=asyncio.Event())
    finally:
        await runner.close()
        await eventually(lambda: left(namespace), until=lambda found: found == [])


async def test_a_script_is_found_in_a_config_map(
    namespace: KubernetesClient, scripts: PodScripts
) -> None:
    config_map = {"metadata": {"name": "scripts"}, "data": {"hello.sh": SCRIPT}}
    await namespace.create(namespace.core("configmaps"), config_map)
    ended = await run(namespace, scripts, scripts.directory / "hello.sh", config_map="scripts")
    assert ended.outcome is Outcome.OK, ended.reason
    assert ended.stdout.kept == b"/mediator/scripts/hello.sh argument ticket\n"
    assert ended.stderr.kept == b"said\n"


@pytest.fixture
async def claim(namespace: KubernetesClient, scripts: PodScripts) -> AsyncIterator[str]:
    """A claim of a volume that is a directory of the node, which holds the scripts."""
    name = f"scripts-{namespace.namespace}"
    size = {"storage": "1Gi"}
    volume = {
        "metadata": {"name": name},
        "spec": {
            "capacity": size,
            "accessModes": ["ReadOnlyMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(scripts.directory)},
            "claimRef": {"namespace": namespace.namespace, "name": "scripts"},
        },
    }
    wanted = {
        "metadata": {"name": "scripts"},
        "spec": {
            "accessModes": ["ReadOnlyMany"],
            "storageClassName": "",  # not one that the cluster would make
            "resources": {"requests": size},
        },
    }
    await namespace.create(VOLUMES, volume)
    await namespace.create(namespace.core("persistentvolumeclaims"), wanted)
    yield "scripts"
    await namespace.delete(f"{VOLUMES}/{name}")


async def test_a_script_is_found_in_a_volume_that_is_claimed_and_cannot_change_it(
    namespace: KubernetesClient, scripts: PodScripts, claim: str
) -> None:
    script = scripts.bash('echo "$0 $1 $(cat)"; touch /scripts/new && echo wrote')
    ended = await run(namespace, scripts, script, claim=claim, directory="/scripts")
    assert ended.exit_code == 1, ended.reason
    assert ended.stdout.kept == f"/scripts/{script.name} argument ticket\n".encode()
    assert b"Read-only file system" in ended.stderr.kept
    assert not (scripts.directory / "new").exists()


async def test_a_script_is_found_in_the_image(
    namespace: KubernetesClient, scripts: PodScripts
) -> None:
    ended = await run(namespace, scripts, Path("/elsewhere/tee"), directory="/usr/bin")
    assert ended.outcome is Outcome.OK, ended.reason
    assert ended.stdout.kept == b"ticket"  # its argument is a file in its working directory
