"""A typo is refused, and so is what cannot work together, each with a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from tests.support.helm import CHART, MINIMAL, POSTGRESQL, Helm

KEEPER = {"shimKeeper": {"enabled": True}}
COMBINATIONS: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "no image": ({"image": {"repository": ""}}, "image.repository: say where the image"),
    "no secret": ({"auth": {"existingSecret": ""}}, "auth.existingSecret: name a Secret"),
    "no key": ({"auth": {"existingSecret": "a", "keys": []}}, "auth.keys: name at least one key"),
    "replicas on SQLite": ({"replicas": 2}, "replicas: SQLite is one file for one mediator"),
    "autoscaling on SQLite": ({"autoscaling": {"enabled": True}}, "autoscaling.enabled: SQLite"),
    "password for SQLite": ({"store": {"existingSecret": "a"}}, "SQLite has no password"),
    "PostgreSQL without a Secret": (
        {"store": {"url": "postgresql://mediator@db/mediator"}},
        "store.existingSecret: PostgreSQL needs a Secret",
    ),
    "password in the URL": (
        {"store": {"url": "postgresql://mediator:hunter2@db/mediator", "existingSecret": "a"}},
        "store.url: it holds a password",
    ),
    "password as a parameter": (
        {"store": {"url": "postgresql://u@db/mediator?password=hunter2", "existingSecret": "a"}},
        "store.url: it holds a password",
    ),
    "password of an index": (
        {"config": {"environments": {"extra_index_urls": ["https://me:hunter2@pypi.example.com"]}}},
        "config.environments.extra_index_urls: it holds a password",
    ),
    "password of a repository": (
        {"scripts": {"git": {"repository": "https://me:hunter2@git.example.com/a.git"}}},
        "scripts.git.repository: it holds a password",
    ),
    "store in the settings": (
        {"config": {"store": {"url": "sqlite:////var/lib/mediator/other.db"}}},
        "config.store.url: say it in store.url",
    ),
    "claim for PostgreSQL": (
        {**POSTGRESQL, "persistence": {"existingClaim": "a"}},
        "persistence.existingClaim: a claim is for SQLite's file",
    ),
    "fewest above most": (
        {**POSTGRESQL, "autoscaling": {"enabled": True, "minReplicas": 9}},
        "autoscaling.minReplicas: it is more than autoscaling.maxReplicas",
    ),
    "two places of scripts": (
        {"scripts": {"inline": {"a": "#!/bin/sh"}, "existingClaim": "b"}},
        "choose one of scripts.inline, scripts.existingClaim",
    ),
    "directory of no claim": ({"scripts": {"subPath": "a"}}, "scripts.subPath: it is a directory"),
    "ingress without a host": ({"ingress": {"enabled": True}}, "ingress.hosts: name the host"),
    "TLS without a certificate": (
        {"ingress": {"enabled": True, "hosts": ["a"], "tls": {"enabled": True}}},
        "ingress.tls: it needs a certificate",
    ),
    "certificate without TLS": (
        {"ingress": {"enabled": True, "hosts": ["a"], "tls": {"certManager": {"issuer": "b"}}}},
        "ingress.tls.enabled: an issuer is named",
    ),
    "route without a gateway": (
        {"httpRoute": {"enabled": True}},
        "httpRoute.parentRefs: name the Gateway",
    ),
    "node port inside the cluster": (
        {"service": {"nodePort": 30080}},
        "service.nodePort: a Service of type ClusterIP has none",
    ),
    "load balancer that is none": (
        {"service": {"loadBalancerSourceRanges": ["192.0.2.0/24"]}},
        "service.type: a class or source ranges of a load balancer are given",
    ),
    "local traffic inside the cluster": (
        {"service": {"externalTrafficPolicy": "Local"}},
        "service.externalTrafficPolicy: a Service of type ClusterIP has none",
    ),
    "metrics to everybody": (
        {"config": {"http": {"metrics_port": 8080}}},
        "config.http: port and metrics_port must be two numbers",
    ),
    "two monitors": (
        {"metrics": {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}},
        "every mediator scraped twice",
    ),
    "Jobs by everybody's account": (
        {"jobs": {"enabled": True}, "serviceAccount": {"create": False}},
        "jobs.enabled: the Role would go to the service account `default`",
    ),
    "Jobs here and elsewhere": (
        {"jobs": {"enabled": True}, "config": {"kubernetes": {"kubeconfig": "/a"}}},
        "jobs.enabled: it is for Jobs in this cluster",
    ),
    "Jobs on and off": (
        {"jobs": {"enabled": True}, "config": {"kubernetes": {"enabled": False}}},
        "jobs.enabled: config.kubernetes.enabled is false",
    ),
    "namespace of no Jobs": (
        {"jobs": {"namespace": "scripts"}},
        "jobs.enabled: a namespace or an image of Jobs is given",
    ),
    "keeper of no pods": (
        {"shimKeeper": {"enabled": True}},
        "config.shim.selector: say the labels of SecureChange's pods",
    ),
    "kubeconfig past the chart": (
        {**KEEPER, "config": {"shim": {"selector": "a=b", "kubeconfig": "/a"}}},
        "config.shim.kubeconfig: say it in shimKeeper.kubeconfigSecret",
    ),
    "context of no kubeconfig": (
        {**KEEPER, "config": {"shim": {"selector": "a=b", "context": "tos"}}},
        "config.shim.context: it is one of a kubeconfig",
    ),
    "address for another cluster": (
        {
            "shimKeeper": {"enabled": True, "kubeconfigSecret": "a"},
            "config": {"shim": {"selector": "a=b"}},
        },
        "config.shim.url: say where SecureChange's pods reach the mediator",
    ),
    "address of a proxy": (
        {**KEEPER, "config": {"shim": {"selector": "a=b"}}, "service": {"targetPort": "https"}},
        "config.shim.url: say where SecureChange's pods reach the mediator",
    ),
    "kubeconfig of no keeper": (
        {"shimKeeper": {"kubeconfigSecret": "a"}},
        "shimKeeper.enabled: a namespace or a kubeconfig of the keeper is given",
    ),
    "answer of no script": (
        {"helmTest": {"expect": "hello"}},
        "helmTest.expect: name in helmTest.script the script",
    ),
}


@pytest.mark.parametrize(("values", "sentence"), COMBINATIONS.values(), ids=COMBINATIONS.keys())
def test_what_cannot_work_is_refused_with_a_sentence(
    helm: Helm, values: Mapping[str, Any], sentence: str
) -> None:
    said = helm.refusal({**MINIMAL, **values})
    assert sentence in said
    assert "hunter2" not in said


def test_all_mistakes_are_told_at_once(helm4: Helm) -> None:
    said = helm4.refusal({"replicas": 2})
    for key in ("image.repository", "auth.existingSecret", "replicas"):
        assert f"{key}: " in said


def _paths(tree: Mapping[str, Any], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every section of values.yaml whose keys are the chart's own."""
    found = [above]
    for key, value in tree.items():
        if isinstance(value, dict) and value and (*above, key) not in FREE:
            found += _paths(value, (*above, key))
    return found


FREE = {
    ("podSecurityContext",), ("securityContext",), ("startupProbe",), ("livenessProbe",),
    ("readinessProbe",), ("metrics", "dashboard", "labels"), ("resources", "requests"),
    ("scripts", "git", "resources", "requests"), ("scripts", "git", "securityContext"),
    ("shimKeeper", "resources", "requests"),
}  # fmt: skip
"""Sections that are Kubernetes' own, or names that somebody else chose."""
SECTIONS = _paths(yaml.safe_load((CHART / "values.yaml").read_text()))


@pytest.mark.parametrize("path", SECTIONS, ids=lambda path: ".".join(path) or "top")
def test_a_typo_in_any_section_is_refused(helm4: Helm, path: tuple[str, ...]) -> None:
    values: dict[str, Any] = {"replicsa": 1}
    for key in reversed(path):
        values = {key: values}
    assert "replicsa" in helm4.refusal(values)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"replicas": "3"}, "replicas"),
        ({"store": {"url": "mysql://db/mediator"}}, "url"),
        ({"store": {"migrate": "always"}}, "migrate"),
        ({"service": {"type": "Loadbalancer"}}, "type"),
        ({"service": {"port": 0}}, "port"),
        ({"persistence": {"size": "10 GB"}}, "size"),
        ({"persistence": {"accessModes": ["ReadOnlyMany"]}}, "accessModes"),
        ({"auth": {"tokens": [{"name": "a", "role": "admin", "secretKey": "b"}]}}, "role"),
        ({"auth": {"keys": [{"id": "a"}]}}, "secretKey"),
        ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"ingress": {"hosts": ["https://mediator.example.com"]}}, "hosts"),
        ({"scripts": {"inline": {"a/b.py": "#!/bin/sh"}}}, "inline"),
        ({"podLabels": {"a": 1}}, "podLabels"),
        ({"jobs": {"enabled": "yes"}}, "enabled"),
        ({"jobs": {"namespace": "a.b"}}, "namespace"),
        ({"shimKeeper": {"kubeconfigKey": "a/b"}}, "kubeconfigKey"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_value_of_the_wrong_kind_is_refused(
    helm: Helm, values: Mapping[str, Any], key: str
) -> None:
    assert key in helm.refusal({**MINIMAL, **values})
