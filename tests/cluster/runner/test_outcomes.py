"""What a cluster does to an attempt, by its name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mediator.kube.client import KubernetesClient
from mediator.model.delivery import Ended, Outcome
from mediator.model.policy import Pod
from mediator.runners.kubernetes.runner import KubernetesRunner
from tests.cluster.runner.conftest import Recording
from tests.cluster.runner.support import PodScripts, settings
from tests.integration.runners.support import Start, until
from tests.support.conditions import eventually


@asynccontextmanager
async def started(
    namespace: KubernetesClient, directory: Path, **changes: Any
) -> AsyncIterator[Recording]:
    runner = Recording(settings(namespace.namespace, directory, **changes))
    await runner.start()
    try:
        yield runner
    finally:
        await runner.close()


async def run(runner: KubernetesRunner, scripts: PodScripts, text: str, **how: Any) -> Ended:
    return await runner.run(scripts.run(scripts.bash(text), **how), stop=asyncio.Event())


async def test_a_script_that_uses_too_much_memory_is_named(
    attempt: Start, scripts: PodScripts
) -> None:
    pod = Pod.model_validate({"resources": {"limits": {"memory": "48Mi"}}})
    script = scripts.python("x = bytearray(200_000_000)\nfor i in range(0, len(x), 4096): x[i] = 1")
    ended = await attempt(script, pod=pod)  # type: ignore[call-arg]
    assert ended.outcome is Outcome.OUT_OF_MEMORY
    assert "more memory than its limit" in ended.reason


@pytest.mark.parametrize(
    ("image", "reason", "final"),
    [
        pytest.param("localhost/none:1", "ErrImageNeverPull", False, id="never pulled"),
        pytest.param("No/IMAGE::", "InvalidImageName", True, id="no image's name"),
    ],
)
async def test_an_image_that_cannot_be_had_is_named(
    attempt: Start, scripts: PodScripts, image: str, reason: str, final: bool
) -> None:
    script = scripts.bash("exit 0")
    ended = await attempt(script, pod=Pod(image=image), grace=1)  # type: ignore[call-arg]
    assert (ended.outcome, ended.final) == (Outcome.NO_IMAGE, final)
    assert reason in ended.reason


async def test_a_registry_that_does_not_answer_is_named(
    namespace: KubernetesClient, scripts: PodScripts, tmp_path: Path
) -> None:
    chosen = settings(namespace.namespace, tmp_path)
    for container in chosen.pod_template["spec"]["containers"]:
        container["imagePullPolicy"] = "Always"
    async with started(namespace, tmp_path, pod_template=chosen.pod_template) as runner:
        ended = await run(runner, scripts, "exit 0", pod=Pod(image="127.0.0.1:1/none:1"))
    assert ended.outcome is Outcome.NO_IMAGE
    assert "127.0.0.1:1" in ended.reason


async def test_a_pod_that_no_node_takes_in_time_is_named(
    namespace: KubernetesClient, scripts: PodScripts, tmp_path: Path
) -> None:
    async with started(namespace, tmp_path, start_timeout="2s") as runner:
        ended = await run(runner, scripts, "exit 0", pod=Pod(node_selector={"no-such": "node"}))
    assert ended.outcome is Outcome.UNSCHEDULABLE
    assert "no node takes its pod" in ended.reason


@pytest.mark.parametrize("what", ["pods", "count/jobs.batch", "count/secrets"])
async def test_a_quota_that_is_used_up_is_named(
    namespace: KubernetesClient, attempt: Start, scripts: PodScripts, what: str
) -> None:
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {what: "0"}}}
    path = namespace.core("resourcequotas")
    await namespace.create(path, quota)
    await eventually(
        lambda: namespace.get(f"{path}/none"), until=lambda q: what in q["status"].get("hard", {})
    )
    ended = await attempt(scripts.bash("exit 0"))
    assert ended.outcome is Outcome.REFUSED
    assert "exceeded quota: none" in ended.reason


async def test_a_pod_that_is_taken_away_is_named(
    namespace: KubernetesClient, attempt: Start, scripts: PodScripts
) -> None:
    ready = scripts.directory / "ready"
    running = attempt(scripts.bash(f"touch {ready}; exec sleep 1000"), grace=1)
    await until(ready.exists)
    (pod,) = (await namespace.get(namespace.core("pods")))["items"]
    await namespace.delete(namespace.core("pods", pod["metadata"]["name"]))
    ended = await running
    assert ended.outcome in {Outcome.EVICTED, Outcome.SIGNAL}
    assert ended.reason


async def test_a_job_that_somebody_deletes_is_lost_and_said_so(
    namespace: KubernetesClient, attempt: Start, scripts: PodScripts
) -> None:
    ready = scripts.directory / "ready"
    running = attempt(scripts.bash(f"trap '' TERM; touch {ready}; sleep 1000"), grace=1)
    await until(ready.exists)
    (job,) = (await namespace.get(namespace.jobs()))["items"]
    await namespace.delete(namespace.jobs(job["metadata"]["name"]))
    ended = await running
    assert ended.outcome in {Outcome.LOST, Outcome.SIGNAL, Outcome.EVICTED}
    assert ended.reason


async def test_a_container_that_cannot_be_made_is_named(
    attempt: Start, scripts: PodScripts
) -> None:
    pod = Pod.model_validate({"env_from": [{"secret": "no-such-secret"}]})
    ended = await attempt(scripts.bash("exit 0"), pod=pod)  # type: ignore[call-arg]
    assert ended.outcome is Outcome.NOT_STARTED
    assert "no-such-secret" in ended.reason


async def test_variables_of_a_secret_reach_the_script(
    namespace: KubernetesClient, attempt: Start, scripts: PodScripts
) -> None:
    data = {"metadata": {"name": "mine"}, "stringData": {"PASSWORD": "a b"}}
    await namespace.create(namespace.core("secrets"), data)
    pod = Pod.model_validate({"env_from": [{"secret": "mine"}]})
    ended = await attempt(scripts.bash('echo "$PASSWORD"'), pod=pod)  # type: ignore[call-arg]
    assert ended.stdout.kept == b"a b\n"


async def test_a_job_that_the_cluster_does_not_accept_ends_for_good(
    attempt: Start, scripts: PodScripts
) -> None:
    pod = Pod(labels={"not a label": "x"})
    ended = await attempt(scripts.bash("exit 0"), pod=pod)  # type: ignore[call-arg]
    assert (ended.outcome, ended.final) == (Outcome.NOT_STARTED, True)
    assert "the cluster does not accept its Job" in ended.reason
