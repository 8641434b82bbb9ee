"""The chart as Helm renders it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
CHART = REPOSITORY / "helm" / "mediator"
SCENARIOS = sorted((CHART / "ci").glob("*-values.yaml"))
MINIMAL: Mapping[str, Any] = {
    "image": {"repository": "registry.example.com/mediator"},
    "auth": {"existingSecret": "mediator-auth"},
}
POSTGRESQL: Mapping[str, Any] = {
    **MINIMAL,
    "store": {"url": "postgresql://mediator@db/mediator", "existingSecret": "mediator-database"},
}
Manifest = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Helm:
    """One version of the command."""

    program: Path

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """What it says; a failure is for the caller to look at."""
        return subprocess.run(
            [str(self.program), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def template(
        self, values: Mapping[str, Any] | Path, *, release: str = "rel", options: Sequence[str] = ()
    ) -> list[Manifest]:
        """Every object, hooks included, in the order in which Helm applies them."""
        said = json.dumps(dict(values)) if isinstance(values, Mapping) else values.read_text()
        return _manifests(_rendered(self.program, said, release, tuple(options)))

    def refusal(self, values: Mapping[str, Any]) -> str:
        """What Helm says of values that it must not take, in one line."""
        done = self.run("template", "rel", str(CHART), "-f", "-", stdin=json.dumps(dict(values)))
        assert done.returncode != 0, f"these values are taken: {values}"
        return " ".join(done.stderr.split())


@cache
def _rendered(program: Path, values: str, release: str, options: tuple[str, ...]) -> str:
    helm = Helm(program=program)
    done = helm.run("template", release, str(CHART), *options, "-f", "-", stdin=values)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _manifests(text: str) -> list[Manifest]:
    return [document for document in yaml.load_all(text, yaml.CSafeLoader) if document is not None]


def of_kind(manifests: Sequence[Manifest], kind: str) -> list[Manifest]:
    """The objects of that kind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def the(manifests: Sequence[Manifest], kind: str) -> Manifest:
    """The only object of that kind."""
    (found,) = of_kind(manifests, kind)
    return found


def deployment(manifests: Sequence[Manifest], *, keeper: bool = False) -> Manifest:
    """That of the mediator, or that of the shim's keeper."""
    (found,) = [
        one
        for one in of_kind(manifests, "Deployment")
        if one["metadata"]["name"].endswith("-shim-keeper") == keeper
    ]
    return found


def pods(manifests: Sequence[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """The name and the pod (metadata and spec) of whatever makes pods."""
    for manifest in manifests:
        name = f"{manifest['kind']}/{manifest['metadata']['name']}"
        if manifest["kind"] == "Pod":
            yield name, manifest
        elif "template" in manifest.get("spec", {}):
            yield name, manifest["spec"]["template"]


def containers(pod: Manifest) -> list[Manifest]:
    """Its containers, those that run first included."""
    spec = pod["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]


def settings(manifests: Sequence[Manifest]) -> dict[str, Any]:
    """What the mediator reads as its settings."""
    for manifest in of_kind(manifests, "ConfigMap"):
        if "mediator.yaml" in manifest["data"]:
            found: dict[str, Any] = yaml.safe_load(manifest["data"]["mediator.yaml"])
            return found
    raise AssertionError("no ConfigMap holds mediator.yaml")
