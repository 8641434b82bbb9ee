"""What selects pods never changes, and selects mediators alone."""

from __future__ import annotations

from collections.abc import Iterator

from tests.support.helm import MINIMAL, Helm, Manifest, of_kind, pods, the

SELECTOR = {"app.kubernetes.io/name": "mediator", "app.kubernetes.io/instance": "rel"}


def test_the_selector_of_the_deployment_is_the_same_in_every_topology(
    rendered: list[Manifest],
) -> None:
    """Kubernetes refuses an upgrade that changes it."""
    assert the(rendered, "Deployment")["spec"]["selector"] == {"matchLabels": SELECTOR}


def test_another_image_or_label_leaves_the_selector_as_it_is(helm4: Helm) -> None:
    more = {
        "image": {"repository": "other.example.com/mediator", "tag": "9.9.9"},
        "commonLabels": {"app.kubernetes.io/name": "theirs", "team": "network"},
        "podLabels": {"app.kubernetes.io/instance": "theirs", "zone": "dmz"},
    }
    deployment = the(helm4.template({**MINIMAL, **more}), "Deployment")
    assert deployment["spec"]["selector"] == {"matchLabels": SELECTOR}
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert labels == {**SELECTOR, "team": "network", "zone": "dmz"}


def test_everything_that_selects_finds_the_mediators(rendered: list[Manifest]) -> None:
    (labels,) = [
        pod["metadata"]["labels"] for name, pod in pods(rendered) if name.startswith("Deployment/")
    ]
    selectors = list(_selectors(rendered))
    assert selectors
    for selector in selectors:
        assert selector.items() <= labels.items()


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
    for deployment in of_kind(manifests, "Deployment"):
        spec = deployment["spec"]
        yield spec["selector"]["matchLabels"]
        for constraint in spec["template"]["spec"].get("topologySpreadConstraints", []):
            yield constraint["labelSelector"]["matchLabels"]


def test_the_monitor_of_services_finds_the_service_of_metrics_alone(helm4: Helm) -> None:
    values = {**MINIMAL, "metrics": {"serviceMonitor": {"enabled": True}}}
    rendered = helm4.template(values)
    wanted = the(rendered, "ServiceMonitor")["spec"]["selector"]["matchLabels"].items()
    found = [
        service["metadata"]["name"]
        for service in of_kind(rendered, "Service")
        if wanted <= service["metadata"]["labels"].items()
    ]
    assert found == ["rel-mediator-metrics"]
