"""What selects pods never changes, and selects mediators alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.helm import MINIMAL, Helm, Manifest, deployment, of_kind, pods, the

SELECTOR = {"app.kubernetes.io/name": "mediator", "app.kubernetes.io/instance": "rel"}


def test_the_selector_of_the_deployment_is_the_same_in_every_topology(
    rendered: list[Manifest],
) -> None:
    """Kubernetes refuses an upgrade that changes it."""
    assert deployment(rendered)["spec"]["selector"] == {"matchLabels": SELECTOR}


def test_another_image_or_label_leaves_the_selector_as_it_is(helm4: Helm) -> None:
    more = {
        "image": {"repository": "other.example.com/mediator", "tag": "9.9.9"},
        "commonLabels": {"app.kubernetes.io/name": "theirs", "team": "network"},
        "podLabels": {"app.kubernetes.io/instance": "theirs", "zone": "dmz"},
    }
    changed = the(helm4.template({**MINIMAL, **more}), "Deployment")
    assert changed["spec"]["selector"] == {"matchLabels": SELECTOR}
    labels = changed["spec"]["template"]["metadata"]["labels"]
    assert labels == {**SELECTOR, "team": "network", "zone": "dmz"}


def test_everything_that_selects_finds_the_pods_of_one_deployment(
    rendered: list[Manifest],
) -> None:
    """Those of the mediator or those of the shim's keeper, never both."""
    labels = [
        pod["metadata"]["labels"] for name, pod in pods(rendered) if name.startswith("Deployment/")
    ]
    selectors = list(_selectors(rendered))
    assert selectors
    for selector in selectors:
        assert sum(selector.items() <= each.items() for each in labels) == 1, selector


def test_what_deployments_select_is_their_own(rendered: list[Manifest]) -> None:
    for each in of_kind(rendered, "Deployment"):
        labels = each["spec"]["template"]["metadata"]["labels"]
        assert each["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_nothing_that_selects_finds_the_test_or_the_migration(rendered: list[Manifest]) -> None:
    for name, pod in pods(rendered):
        if not name.startswith("Deployment/"):
            labels = pod["metadata"]["labels"]
            for selector in _selectors(rendered):
                assert not selector.items() <= labels.items(), name


def _selectors(manifests: list[Manifest]) -> Iterator[dict[str, str]]:
    for service in of_kind(manifests, "Service"):
        yield service["spec"]["selector"]
    for kind in ("PodDisruptionBudget", "PodMonitor"):
        for manifest in of_kind(manifests, kind):
            yield manifest["spec"]["selector"]["matchLabels"]
    for policy in of_kind(manifests, "NetworkPolicy"):
        yield policy["spec"]["podSelector"]["matchLabels"]
    for each in of_kind(manifests, "Deployment"):
        spec = each["spec"]
        yield spec["selector"]["matchLabels"]
        for constraint in spec["template"]["spec"].get("topologySpreadConstraints", []):
            yield constraint["labelSelector"]["matchLabels"]


@pytest.mark.parametrize("keeper", [False, True], ids=["alone", "with the keeper"])
def test_each_monitor_of_services_finds_its_service_of_metrics_alone(
    helm4: Helm, keeper: bool
) -> None:
    values = {**MINIMAL, "metrics": {"serviceMonitor": {"enabled": True}}}
    kept = {"shimKeeper": {"enabled": True}, "config": {"shim": {"selector": "app=securechange"}}}
    rendered = helm4.template({**values, **kept} if keeper else values)
    found = [
        service["metadata"]["name"]
        for monitor in of_kind(rendered, "ServiceMonitor")
        for service in of_kind(rendered, "Service")
        if monitor["spec"]["selector"]["matchLabels"].items()
        <= service["metadata"]["labels"].items()
    ]
    names = ["rel-mediator-shim-keeper-metrics"] if keeper else []
    assert sorted(found) == ["rel-mediator-metrics", *names]
