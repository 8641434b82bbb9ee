"""What depends on the store and on the number of mediators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.helm import CHART, MINIMAL, POSTGRESQL, Helm, Manifest, of_kind, the


def _pod(manifests: list[Manifest]) -> dict[str, Any]:
    spec: dict[str, Any] = the(manifests, "Deployment")["spec"]["template"]["spec"]
    return spec


def _first(manifests: list[Manifest]) -> list[str]:
    return [container["name"] for container in _pod(manifests).get("initContainers", [])]


def test_sqlite_is_one_mediator_that_is_stopped_before_the_next_starts(helm4: Helm) -> None:
    rendered = helm4.template(MINIMAL)
    spec = the(rendered, "Deployment")["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}
    assert _first(rendered) == ["check", "prepare"]
    assert not of_kind(rendered, "PodDisruptionBudget")


def test_the_claim_of_sqlite_outlives_the_release(helm4: Helm) -> None:
    claim = the(helm4.template(MINIMAL), "PersistentVolumeClaim")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    free = helm4.template({**MINIMAL, "persistence": {"retain": False}})
    assert "annotations" not in the(free, "PersistentVolumeClaim")["metadata"]


def test_a_claim_of_somebody_else_is_used(helm4: Helm) -> None:
    rendered = helm4.template({**MINIMAL, "persistence": {"existingClaim": "theirs"}})
    assert not of_kind(rendered, "PersistentVolumeClaim")
    (state,) = [one for one in _pod(rendered)["volumes"] if one["name"] == "state"]
    assert state["persistentVolumeClaim"] == {"claimName": "theirs"}


def test_postgresql_is_replaced_one_after_another_and_migrated_first(helm4: Helm) -> None:
    rendered = helm4.template({**POSTGRESQL, "replicas": 3})
    spec = the(rendered, "Deployment")["spec"]
    assert spec["replicas"] == 3
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert _first(rendered) == ["check", "migrate", "prepare"]
    assert not of_kind(rendered, "PersistentVolumeClaim")
    keys = [one["topologyKey"] for one in _pod(rendered)["topologySpreadConstraints"]]
    assert keys == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]


@pytest.mark.parametrize(("replicas", "budgets"), [(1, 0), (2, 1)])
def test_a_budget_is_made_only_where_it_does_not_stop_a_drain(
    helm4: Helm, replicas: int, budgets: int
) -> None:
    rendered = helm4.template({**POSTGRESQL, "replicas": replicas})
    assert len(of_kind(rendered, "PodDisruptionBudget")) == budgets


def test_the_job_that_migrates_needs_nothing_of_the_release(helm4: Helm) -> None:
    """It runs before the ConfigMap and the ServiceAccount are there."""
    rendered = helm4.template({**POSTGRESQL, "store": {**POSTGRESQL["store"], "migrate": "job"}})
    job = the(rendered, "Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    spec = job["spec"]["template"]["spec"]
    assert "serviceAccountName" not in spec
    assert not [volume for volume in spec["volumes"] if "configMap" in volume]
    assert _first(rendered) == ["check", "prepare"]


def test_somebody_else_can_migrate(helm4: Helm) -> None:
    rendered = helm4.template({**POSTGRESQL, "store": {**POSTGRESQL["store"], "migrate": "none"}})
    assert not of_kind(rendered, "Job")
    assert _first(rendered) == ["check", "prepare"]


def test_a_deployment_that_is_scaled_says_no_number(helm4: Helm) -> None:
    rendered = helm4.template(CHART / "ci" / "postgresql-autoscaling-values.yaml")
    assert "replicas" not in the(rendered, "Deployment")["spec"]
    scaler = the(rendered, "HorizontalPodAutoscaler")["spec"]
    assert scaler["metrics"][0]["external"] == {
        "metric": {
            "name": "mediator_deliveries_pending",
            "selector": {"matchLabels": {"job": "mediator"}},
        },
        "target": {"type": "AverageValue", "averageValue": "100"},
    }
    assert scaler["scaleTargetRef"]["name"] == the(rendered, "Deployment")["metadata"]["name"]


@pytest.mark.parametrize(
    ("scripts", "directory", "volume"),
    [
        ({}, "/scripts", {"emptyDir": {}}),
        (
            {"inline": {"a.sh": "#!/bin/sh"}},
            "/scripts",
            {"configMap": {"name": "rel-mediator-scripts", "defaultMode": 0o555}},
        ),
        (
            {"existingConfigMap": "a"},
            "/scripts",
            {"configMap": {"name": "a", "defaultMode": 0o555}},
        ),
        (
            {"existingClaim": "a", "subPath": "b"},
            "/scripts",
            {"persistentVolumeClaim": {"claimName": "a", "readOnly": True}},
        ),
        (
            {"git": {"repository": "https://git.example.com/a.git", "path": "/b/"}},
            "/scripts/current/b",
            {"emptyDir": {}},
        ),
        ({"image": {"reference": "a:1", "path": "b"}}, "/scripts/current", {"emptyDir": {}}),
    ],
    ids=["none", "inline", "configmap", "claim", "git", "image"],
)
def test_scripts_come_from_where_the_values_say(
    helm4: Helm, scripts: dict[str, Any], directory: str, volume: dict[str, Any]
) -> None:
    rendered = helm4.template({**MINIMAL, "scripts": scripts})
    (found,) = [one for one in _pod(rendered)["volumes"] if one["name"] == "scripts"]
    assert found == {"name": "scripts", **volume}
    (config,) = [m for m in of_kind(rendered, "ConfigMap") if "mediator.yaml" in m["data"]]
    assert f"directory: {directory}\n" in config["data"]["mediator.yaml"]
    for container in _pod(rendered)["containers"][:1]:
        (mount,) = [one for one in container["volumeMounts"] if one["name"] == "scripts"]
        assert mount == {
            "name": "scripts",
            "mountPath": "/scripts",
            "readOnly": True,
            **({"subPath": scripts["subPath"]} if "subPath" in scripts else {}),
        }


def test_inline_scripts_arrive_byte_for_byte(helm: Helm) -> None:
    text = "  # indented\n\n#!/bin/bash\n\ttab 'quotes' \"{{ .Values }}\" # äöü\n\n\n"
    rendered = helm.template({**MINIMAL, "scripts": {"inline": {"odd.sh": text, "1": "one"}}})
    (config,) = [m for m in of_kind(rendered, "ConfigMap") if "odd.sh" in m["data"]]
    assert config["data"] == {"odd.sh": text, "1": "one"}


def test_the_test_is_let_in_by_the_network_policy(helm4: Helm) -> None:
    rendered = helm4.template(CHART / "ci" / "postgresql-values.yaml")
    labels = the(rendered, "Pod")["metadata"]["labels"]
    entries = the(rendered, "NetworkPolicy")["spec"]["ingress"][0]["from"]
    chosen = [entry["podSelector"]["matchLabels"] for entry in entries if "podSelector" in entry]
    assert any(selector.items() <= labels.items() for selector in chosen)


def test_a_network_policy_without_lists_bounds_the_ports_alone(helm4: Helm) -> None:
    rendered = helm4.template({**MINIMAL, "networkPolicy": {"enabled": True}})
    assert the(rendered, "NetworkPolicy")["spec"]["ingress"] == [
        {"ports": [{"port": "http", "protocol": "TCP"}]},
        {"ports": [{"port": "health", "protocol": "TCP"}]},
    ]


def test_metrics_are_behind_no_port_that_is_reached_from_outside(rendered: list[Manifest]) -> None:
    for service in of_kind(rendered, "Service"):
        if service["spec"]["type"] != "ClusterIP" or not service["metadata"]["name"].endswith(
            "-metrics"
        ):
            assert [port["name"] for port in service["spec"]["ports"]] == ["http"]


def test_the_certificate_is_made_where_the_ingress_looks_for_it(helm4: Helm) -> None:
    rendered = helm4.template(CHART / "ci" / "sqlite-ingress-values.yaml")
    certificate, ingress = the(rendered, "Certificate")["spec"], the(rendered, "Ingress")["spec"]
    assert certificate["secretName"] == ingress["tls"][0]["secretName"] == "rel-mediator-tls"
    assert certificate["dnsNames"] == ingress["tls"][0]["hosts"] == ["mediator.example.com"]
    assert certificate["issuerRef"]["name"] == "internal"


def test_every_way_in_leads_to_the_service(rendered: list[Manifest]) -> None:
    (service,) = [m for m in of_kind(rendered, "Service") if "clusterIP" not in m["spec"]]
    name, (port,) = service["metadata"]["name"], service["spec"]["ports"]
    for ingress in of_kind(rendered, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            (path,) = rule["http"]["paths"]
            assert path["backend"]["service"] == {"name": name, "port": {"name": port["name"]}}
            assert (path["path"], path["pathType"]) == ("/", "Prefix")
    for route in of_kind(rendered, "HTTPRoute"):
        (rule,) = route["spec"]["rules"]
        assert rule["backendRefs"] == [{"name": name, "port": port["port"]}]
        assert "filters" not in rule


def test_alerts_and_dashboard_are_those_of_the_project(helm4: Helm) -> None:
    rendered = helm4.template(CHART / "ci" / "postgresql-values.yaml")
    groups = the(rendered, "PrometheusRule")["spec"]["groups"]
    alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    source = Path(CHART / "files" / "rules.yaml").read_text()
    assert len(alerts) == source.count("- alert: ") > 0
    for alert in alerts:
        link = alert["annotations"]["runbook_url"]
        assert link == f"https://wiki.example.com/mediator/runbooks/{alert['alert']}.md"
    assert "{{ $labels.script }}" in str(alerts)
    (dashboard,) = [m for m in of_kind(rendered, "ConfigMap") if "mediator.json" in m["data"]]
    expected = (CHART / "files" / "dashboard.json").read_text()
    assert dashboard["data"]["mediator.json"].strip() == expected.strip()
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
