"""What the chart asks of the Kubernetes API: for Jobs, and for the keeper of the shim."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from mediator.kube.access import KEEPER_RIGHTS, RUNNER_RIGHTS
from mediator.settings.schema import Settings
from tests.support.helm import (
    CHART,
    MINIMAL,
    REPOSITORY,
    Helm,
    Manifest,
    deployment,
    of_kind,
    settings,
    the,
)

JOBS: dict[str, Any] = {**MINIMAL, "jobs": {"enabled": True}}
KEEPER: dict[str, Any] = {
    **MINIMAL,
    "shimKeeper": {"enabled": True},
    "config": {"shim": {"selector": "app=securechange"}},
}
ELSEWHERE: dict[str, Any] = {
    **MINIMAL,
    "shimKeeper": {"enabled": True, "kubeconfigSecret": "tos", "kubeconfigKey": "config"},
    "config": {"shim": {"selector": "app=securechange", "url": "http://mediator.example.com"}},
}


def _role_of(directory: str) -> Manifest:
    text = (REPOSITORY / "deploy" / directory / "role.yaml").read_text()
    return the(list(yaml.safe_load_all(text)), "Role")


def _pod(manifests: list[Manifest], *, keeper: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = deployment(manifests, keeper=keeper)["spec"]["template"]["spec"]
    return found


def test_nothing_is_asked_of_kubernetes_by_default(helm: Helm) -> None:
    rendered = helm.template(MINIMAL)
    assert not of_kind(rendered, "Role")
    assert not of_kind(rendered, "RoleBinding")
    assert {"kubernetes", "shim"}.isdisjoint(settings(rendered))
    assert _pod(rendered)["automountServiceAccountToken"] is False
    assert len(of_kind(rendered, "Deployment")) == 1


@pytest.mark.parametrize(
    ("values", "directory", "account"),
    [
        (JOBS, "kubernetes-runner", "rel-mediator"),
        (KEEPER, "kubernetes-shim", "rel-mediator-shim-keeper"),
    ],
    ids=["jobs", "keeper"],
)
def test_the_role_is_that_of_the_project_and_bound_to_who_needs_it(
    helm: Helm, values: dict[str, Any], directory: str, account: str
) -> None:
    rendered = helm.template(values)
    role, binding = the(rendered, "Role"), the(rendered, "RoleBinding")
    assert role["rules"] == _role_of(directory)["rules"]
    assert binding["roleRef"] == {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "Role",
        "name": role["metadata"]["name"],
    }
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account, "namespace": "default"}
    ]
    assert role["metadata"]["namespace"] == binding["metadata"]["namespace"] == "default"
    assert account in [each["metadata"]["name"] for each in of_kind(rendered, "ServiceAccount")]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [(JOBS, RUNNER_RIGHTS), (KEEPER, KEEPER_RIGHTS)],
    ids=["jobs", "keeper"],
)
def test_the_role_gives_exactly_what_the_mediator_asks_for(
    helm4: Helm, values: dict[str, Any], wanted: Any
) -> None:
    given = {
        (verb, resource)
        for rule in the(helm4.template(values), "Role")["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert given == set(wanted)


def test_the_roles_are_where_the_settings_say_that_the_pods_are(helm4: Helm) -> None:
    values = {
        **MINIMAL,
        "jobs": {"enabled": True, "namespace": "scripts"},
        "shimKeeper": {"enabled": True, "namespace": "tos"},
        "config": {"shim": {"selector": "app=securechange"}},
    }
    assert _namespaces(helm4.template(values)) == {"scripts", "tos"}
    config = {"kubernetes": {"namespace": "a"}, "shim": {"selector": "a=b", "namespace": "c"}}
    won = helm4.template({**values, "config": config})
    assert _namespaces(won) == {"a", "c"}
    assert settings(won)["kubernetes"]["namespace"] == "a"
    assert settings(won)["shim"]["namespace"] == "c"


def _namespaces(manifests: list[Manifest]) -> set[str]:
    roles, bindings = (
        {one["metadata"]["namespace"] for one in of_kind(manifests, kind)}
        for kind in ("Role", "RoleBinding")
    )
    assert roles == bindings
    return roles


# -------------------------------------------------------------------------------------------- Jobs


def test_jobs_are_made_in_the_namespace_of_the_release_in_the_mediators_image(helm: Helm) -> None:
    rendered = helm.template(JOBS)
    tree = settings(rendered)
    assert tree["kubernetes"] == {
        "enabled": True,
        "namespace": "default",
        "image": _pod(rendered)["containers"][0]["image"],
    }
    assert Settings.model_validate(tree).kubernetes.enabled
    assert _pod(rendered)["automountServiceAccountToken"] is True
    assert _pod(rendered)["serviceAccountName"] == "rel-mediator"


@pytest.mark.parametrize(
    ("scripts", "found"),
    [
        ({"inline": {"a.sh": "#!/bin/sh"}}, {"config_map": "rel-mediator-scripts"}),
        ({"existingConfigMap": "theirs"}, {"config_map": "theirs"}),
        ({"existingClaim": "theirs"}, {"claim": "theirs"}),
        ({"existingClaim": "theirs", "subPath": "a"}, None),
        ({"git": {"repository": "https://git.example.com/a.git"}}, None),
    ],
    ids=["inline", "configmap", "claim", "part of a claim", "git"],
)
def test_jobs_find_the_scripts_where_the_mediator_does(
    helm4: Helm, scripts: dict[str, Any], found: dict[str, str] | None
) -> None:
    values = {**JOBS, "scripts": scripts}
    assert settings(helm4.template(values))["kubernetes"].get("scripts") == found
    other = {**values, "jobs": {"enabled": True, "namespace": "other"}}
    assert "scripts" not in settings(helm4.template(other))["kubernetes"]
    own = {**values, "config": {"kubernetes": {"scripts": {"claim": "own"}}}}
    assert settings(helm4.template(own))["kubernetes"]["scripts"] == {"claim": "own"}


def test_jobs_pull_as_the_mediator_does(helm4: Helm) -> None:
    rendered = helm4.template({**JOBS, "imagePullSecrets": [{"name": "registry"}]})
    template = settings(rendered)["kubernetes"]["pod_template"]
    assert template == {"spec": {"imagePullSecrets": [{"name": "registry"}]}}


def test_a_service_account_of_somebody_else_gets_the_role(helm4: Helm) -> None:
    rendered = helm4.template({**JOBS, "serviceAccount": {"create": False, "name": "theirs"}})
    assert the(rendered, "RoleBinding")["subjects"][0]["name"] == "theirs"
    assert not of_kind(rendered, "ServiceAccount")


@pytest.mark.parametrize("enabled", [False, True], ids=["without jobs", "with jobs"])
def test_a_bounded_network_leads_to_the_api_server_where_it_is_needed(
    helm4: Helm, enabled: bool
) -> None:
    bound = {"enabled": True, "egress": [{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}]}
    rendered = helm4.template({**MINIMAL, "jobs": {"enabled": enabled}, "networkPolicy": bound})
    egress = the(rendered, "NetworkPolicy")["spec"]["egress"]
    assert [port["port"] for port in egress[0]["ports"]] == [53, 53]
    assert egress[1] == bound["egress"][0]  # type: ignore[index]
    ports = [[port["port"] for port in rule["ports"]] for rule in egress[2:]]
    assert ports == ([[443, 6443]] if enabled else [])


# -------------------------------------------------------------------------- the keeper of the shim


def test_the_keeper_is_one_pod_that_watches_by_the_same_settings(helm: Helm) -> None:
    rendered = helm.template(KEEPER)
    kept = deployment(rendered, keeper=True)
    assert kept["spec"]["replicas"] == 1
    assert kept["spec"]["strategy"] == {"type": "Recreate"}
    pod = _pod(rendered, keeper=True)
    (keeper,) = pod["containers"]
    config = "/etc/mediator/mediator.yaml"
    assert keeper["args"] == ["shim", "watch", "--config", config, "--metrics-port", "9090"]
    assert [port["containerPort"] for port in keeper["ports"]] == [9090]
    assert keeper["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "health"}
    assert keeper["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "health"}
    assert keeper["resources"]["requests"] == {"cpu": "10m", "memory": "128Mi"}
    assert pod["serviceAccountName"] == "rel-mediator-shim-keeper"
    assert pod["automountServiceAccountToken"] is True
    assert _pod(rendered)["automountServiceAccountToken"] is False
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert volumes == {"settings", "auth", "scripts", "tmp"}


def test_the_keeper_takes_the_section_of_the_settings_as_it_is(helm: Helm) -> None:
    said = {"selector": "app=sc", "container": "server", "check_every": "1m", "namespace": "tos"}
    rendered = helm.template({**KEEPER, "config": {"shim": said}})
    tree = settings(rendered)
    assert tree["shim"] == {**said, "url": "http://rel-mediator.default.svc:8080"}
    assert Settings.model_validate(tree).shim.selector == "app=sc"


def test_the_keeper_of_another_cluster_has_a_kubeconfig_and_no_role(helm: Helm) -> None:
    rendered = helm.template(ELSEWHERE)
    assert not of_kind(rendered, "Role")
    assert not of_kind(rendered, "RoleBinding")
    pod = _pod(rendered, keeper=True)
    assert pod["automountServiceAccountToken"] is False
    (volume,) = [one for one in pod["volumes"] if one["name"] == "kubeconfig"]
    assert volume["secret"] == {"secretName": "tos", "defaultMode": 0o440}
    mounts = {one["name"]: one["mountPath"] for one in pod["containers"][0]["volumeMounts"]}
    tree = settings(rendered)
    assert tree["shim"]["kubeconfig"] == f"{mounts['kubeconfig']}/config"
    assert "kubeconfig" not in {one["name"] for one in _pod(rendered)["volumes"]}


def test_the_keeper_gets_scripts_of_a_repository_by_itself(helm4: Helm) -> None:
    rendered = helm4.template(CHART / "ci" / "jobs-values.yaml")
    pod = _pod(rendered, keeper=True)
    assert [one["name"] for one in pod["initContainers"]] == ["scripts"]
    assert [one["name"] for one in pod["containers"]] == ["keeper", "git-sync"]


@pytest.mark.parametrize("kind", ["PodMonitor", "ServiceMonitor"])
def test_the_keeper_is_scraped_where_the_mediator_is(helm4: Helm, kind: str) -> None:
    metrics = {f"{kind[0].lower()}{kind[1:]}": {"enabled": True}}
    rendered = helm4.template({**KEEPER, "metrics": metrics})
    names = {one["metadata"]["name"] for one in of_kind(rendered, kind)}
    assert names == {"rel-mediator", "rel-mediator-shim-keeper"}
    assert len(of_kind(helm4.template({**MINIMAL, "metrics": metrics}), kind)) == 1
