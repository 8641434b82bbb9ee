"""The Role in deploy/kubernetes-runner is what the runner needs, all of it and no more."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from mediator.errors import SettingsError
from mediator.kube.access import RUNNER_RIGHTS
from mediator.kube.client import KubernetesClient
from mediator.model.delivery import Outcome
from tests.cluster.runner.conftest import Recording
from tests.cluster.runner.support import PodScripts, kubeconfig, left, settings
from tests.support.conditions import eventually
from tests.support.mediator import REPOSITORY

ROLE = yaml.safe_load((REPOSITORY / "deploy/kubernetes-runner/role.yaml").read_text())
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces"


def test_the_role_is_the_list_of_the_code() -> None:
    stated = {
        (verb, resource)
        for rule in ROLE["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert stated == set(RUNNER_RIGHTS)


async def bound(namespace: KubernetesClient, rules: list[dict[str, Any]], directory: Path) -> Path:
    """The kubeconfig of a service account with these rules and no others."""
    name = namespace.namespace
    account = await namespace.create(
        namespace.core("serviceaccounts"), {"metadata": {"name": "runner"}}
    )
    assert account["metadata"]["name"] == "runner"
    await namespace.create(f"{RBAC}/{name}/roles", {"metadata": {"name": "runner"}, "rules": rules})
    binding = {
        "metadata": {"name": "runner"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "runner"},
        "subjects": [{"kind": "ServiceAccount", "name": "runner", "namespace": name}],
    }
    await namespace.create(f"{RBAC}/{name}/rolebindings", binding)
    token = {
        "metadata": {
            "name": "token",
            "annotations": {"kubernetes.io/service-account.name": "runner"},
        },
        "type": "kubernetes.io/service-account-token",
    }
    await namespace.create(namespace.core("secrets"), token)
    filled = await eventually(
        lambda: namespace.get(namespace.core("secrets", "token")),
        until=lambda secret: "token" in (secret.get("data") or {}),
    )
    config = yaml.safe_load(kubeconfig().read_text())
    config["users"][0]["user"] = {"token": base64.b64decode(filled["data"]["token"]).decode()}
    path = directory / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


async def test_with_exactly_this_role_scripts_run_and_are_stopped(
    namespace: KubernetesClient, tmp_path: Path
) -> None:
    scripts = PodScripts(tmp_path)
    config = await bound(namespace, ROLE["rules"], tmp_path)
    runner = Recording(settings(namespace.namespace, tmp_path, kubeconfig=config))
    await runner.start()
    ended = await runner.run(scripts.run(scripts.bash("echo said")), stop=asyncio.Event())
    assert (ended.outcome, ended.stdout.kept) == (Outcome.OK, b"said\n")
    stopped = await runner.run(
        scripts.run(scripts.bash("sleep 1000"), timeout=1, grace=1), stop=asyncio.Event()
    )
    assert stopped.outcome is Outcome.TIMEOUT
    await eventually(lambda: left(namespace), until=lambda found: found == [])
    await runner.close()


@pytest.mark.parametrize(("verb", "resource"), RUNNER_RIGHTS)
async def test_with_one_verb_less_a_sentence_names_it(
    namespace: KubernetesClient, tmp_path: Path, verb: str, resource: str
) -> None:
    rules = [
        {
            **rule,
            "verbs": [v for v in rule["verbs"] if (v, rule["resources"][0]) != (verb, resource)],
        }
        for rule in ROLE["rules"]
    ]
    config = await bound(namespace, [rule for rule in rules if rule["verbs"]], tmp_path)
    runner = Recording(settings(namespace.namespace, tmp_path, kubeconfig=config))
    with pytest.raises(SettingsError) as caught:
        await runner.start()
    assert str(caught.value) == (
        f"kubernetes: the mediator may not {verb} {resource} in namespace {namespace.namespace}; "
        "apply deploy/kubernetes-runner/role.yaml there, or give it what is missing."
    )
