"""Every topology is rendered by both Helms, and is what Kubernetes takes."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.helm import CHART, MINIMAL, SCENARIOS, Helm, Manifest

OF_OTHERS = {"Certificate", "HTTPRoute", "PodMonitor", "PrometheusRule", "ServiceMonitor"}
"""Kinds of cert-manager, Gateway API and the Prometheus operator; Kubernetes has no schema."""
IMAGE_VOLUMES = (1, 31)
"""The first Kubernetes whose pods may have them."""


def test_lint_finds_nothing_in_the_chart_as_it_is(helm: Helm) -> None:
    done = helm.run("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout


def test_lint_finds_nothing_in_any_topology(helm: Helm, scenario: Path) -> None:
    done = helm.run("lint", "--strict", str(CHART), "-f", str(scenario))
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


def test_both_helms_render_the_same(helm3: Helm, helm4: Helm, scenario: Path) -> None:
    assert helm3.template(scenario) == helm4.template(scenario)


def test_the_notes_say_what_to_type_next(helm4: Helm, scenario: Path) -> None:
    """Helm 3 tells them only where a cluster answers."""
    done = helm4.run("install", "rel", str(CHART), "--dry-run=client", "-f", str(scenario))
    notes = done.stdout.partition("NOTES:")[2]
    assert "-c mediator -- mediator shim bundle /tmp/pod --url " in notes, done.stderr
    assert "URL=http" in notes
    assert "<no value>" not in notes


@pytest.mark.parametrize("version", ["1.25", "1.30", "1.34", "1.37"])
def test_kubernetes_takes_every_object(
    tools: Path, helm4: Helm, tmp_path: Path, version: str
) -> None:
    wanted = _write(helm4, tmp_path, version)
    # Not the command beside it: that names the place where it was made, and checkouts are moved.
    python = tools / "schemas" / "bin" / "python"
    files = sorted(str(path) for path in tmp_path.iterdir())
    done = subprocess.run(
        [str(python), "-m", "kubernetes_validate", "--strict", "-k", version, *files],
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert len(re.findall(r"^INFO .* passed for resource ", said, re.MULTILINE)) == wanted
    assert "WARN" not in said


def _write(helm: Helm, directory: Path, version: str) -> int:
    """A file for every object that Kubernetes itself knows; how many."""
    count = 0
    for scenario in SCENARIOS:
        for manifest in helm.template(scenario, options=("--kube-version", version)):
            if manifest["kind"] in OF_OTHERS or _too_new(manifest, version):
                continue
            (directory / f"{count}.json").write_text(json.dumps(manifest))
            count += 1
    return count


def _too_new(manifest: Manifest, version: str) -> bool:
    major, minor = version.split(".")
    return '"scripts-image"' in json.dumps(manifest) and (int(major), int(minor)) < IMAGE_VOLUMES


def test_every_template_is_reached_by_some_topology(helm4: Helm) -> None:
    """What no scenario renders is what nobody has looked at."""
    reached: set[str] = set()
    for scenario in SCENARIOS:
        done = helm4.run("template", "rel", str(CHART), "-f", str(scenario))
        lines = re.findall(r"^# Source: mediator/(templates/.*)$", done.stdout, re.MULTILINE)
        reached |= set(lines)
    there = {str(path.relative_to(CHART)) for path in CHART.glob("templates/**/*.yaml")}
    assert there == reached


def test_a_name_is_never_longer_than_kubernetes_takes(helm4: Helm) -> None:
    for scenario in SCENARIOS:
        for manifest in helm4.template(scenario, release="r" * 53):
            name = manifest["metadata"]["name"]
            assert len(name) <= 63, name
            assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name), name
            for value in (
                manifest["metadata"]["labels"].values() if "labels" in manifest["metadata"] else ()
            ):
                assert len(value) <= 63, value


def test_names_of_one_release_differ(rendered: list[Manifest]) -> None:
    names = [(one["kind"], one["metadata"]["name"]) for one in rendered]
    assert len(names) == len(set(names))


def test_another_name_of_the_chart_is_used_everywhere(helm4: Helm) -> None:
    for manifest in helm4.template({**MINIMAL, "nameOverride": "carrier"}):
        assert manifest["metadata"]["name"].startswith("rel-carrier")
        assert manifest["metadata"]["labels"]["app.kubernetes.io/name"].startswith("carrier")
