"""Somebody installs the chart who may do no more than docs/how-to/helm.md says."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.chart.outcomes import until_done
from tests.support.cluster import Load, Namespace, Release
from tests.support.conditions import eventually_true
from tests.support.mediator import REPOSITORY

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("disk")]


def documented_role() -> dict[str, Any]:
    """The Role of the page."""
    text = (REPOSITORY / "docs" / "how-to" / "helm.md").read_text()
    blocks = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (found,) = [block for block in blocks if "kind: Role\n" in block]
    role: dict[str, Any] = yaml.safe_load(found)
    return role


@pytest.fixture
def deployer(space: Namespace, kubeconfig: Path, tmp_path: Path) -> Path:
    """A kubeconfig of a service account with that role."""
    role = documented_role()
    space.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "deployer"}},
        role,
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "deployer"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Role",
                "name": role["metadata"]["name"],
            },
            "subjects": [{"kind": "ServiceAccount", "name": "deployer"}],
        },
    )
    document = yaml.safe_load(kubeconfig.read_text())
    (user,) = document["users"]
    user["user"] = {"token": _token(space)}
    path = tmp_path / "deployer.kubeconfig"
    path.write_text(json.dumps(document))
    path.chmod(0o600)
    return path


def _token(space: Namespace) -> str:
    """As clusters since 1.24 give one, or as those before do."""
    made = space.call("create", "token", "deployer")
    if made.returncode == 0:
        return made.stdout.strip()
    chosen = "--output=jsonpath={.secrets[0].name}"
    eventually_true(lambda: space.must("get", "serviceaccount", "deployer", chosen))
    secret = space.must("get", "serviceaccount", "deployer", chosen)
    template = "--output=go-template={{.data.token | base64decode}}"
    return space.must("get", "secret", secret, template)


def test_the_documented_rights_are_enough_and_end_at_the_namespace(
    release: Release, space: Namespace, values: dict[str, Any], load: Load, url: str, deployer: Path
) -> None:
    limited = replace(release, kubeconfig=deployer)
    kubectl = replace(space, kubectl=(space.kubectl[0], f"--kubeconfig={deployer}"))
    for what in (["get", "nodes"], ["get", "secrets", "--namespace=kube-system"]):
        assert kubectl.call("auth", "can-i", *what).stdout.strip() == "no"
    limited.install(values)
    limited.test()
    limited.upgrade({**values, "config": {"dispatch": {"slots": 2}}})
    load.start(url=url, script="hello", limit=4)
    load.wait()
    until_done(space, load)
    limited.rollback()
    limited.must("uninstall", "mediator", "--wait")
