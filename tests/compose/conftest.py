"""deploy/compose.yaml, started by podman-compose with stand-ins for the images of others.

Grafana has none: no package of it is to be had, so that service stays out.
"""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.compose import tool
from tests.support.conditions import eventually_true
from tests.support.debian import debian_image
from tests.support.mediator import REPOSITORY
from tests.support.podman import BUILD, FULL, PODMAN, must, podman
from tests.support.prometheus import free_port

STARTED = ("postgres", "mediator", "prometheus", "alertmanager")
_PACKAGES = ["postgresql", "prometheus", "prometheus-alertmanager", "wget", "ca-certificates"]
_STAND_INS = Path(__file__).parent / "stand-ins"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """The services, started."""

    project: str
    file: Path
    environment: Mapping[str, str]

    def compose(self, *arguments: str) -> None:
        """Run podman-compose on it."""
        told = tool(
            "podman_compose",
            *("--podman-path", str(PODMAN), "--project-name", self.project),
            *("--file", str(self.file), *arguments),
            environment=self.environment,
        )
        assert told.returncode == 0, f"{arguments}: {told.stdout}{told.stderr}"

    def container(self, service: str) -> str:
        """The name of a service's container."""
        return f"{self.project}_{service}_1"

    def healthy(self, service: str) -> bool:
        """Whether its health check says so now; without systemd podman asks only when told to."""
        return podman("healthcheck", "run", self.container(service)).returncode == 0

    def await_healthy(self, service: str) -> None:
        """Wait until it is."""
        eventually_true(lambda: self.healthy(service), seconds=120)

    def url(self, service: str, port: int) -> str:
        """Where a service's port is on this machine."""
        address = must("port", self.container(service), f"{port}/tcp").split(":")
        return f"http://127.0.0.1:{address[-1]}"

    def secret(self, name: str) -> Path:
        """The file of a secret."""
        return self.file.parent / "compose" / "secrets" / name


@pytest.fixture(scope="session")
def images() -> Mapping[str, str]:
    """Variable of compose.yaml → the image that it names in these tests."""
    built = subprocess.run([BUILD], capture_output=True, text=True, check=False, timeout=900)
    assert built.returncode == 0, built.stdout + built.stderr
    base = debian_image("compose", _PACKAGES)
    found = {"MEDIATOR_IMAGE": FULL}
    for name in ("postgres", "prometheus", "alertmanager"):
        tag = f"localhost/mediator-tests/{name}:stand-in"
        source = ("--build-arg", f"BASE={base}", "--target", name, "--tag", tag)
        must("build", "--quiet", "--pull=never", "--format", "docker", *source, str(_STAND_INS))
        found[f"{name.upper()}_IMAGE"] = tag
    return found


@pytest.fixture(scope="session")
def stack(images: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """All services but Grafana, started from a copy of deploy/ with fresh secrets."""
    deploy = tmp_path_factory.mktemp("checkout") / "deploy"
    ignored = shutil.ignore_patterns("secrets", ".env")
    shutil.copytree(REPOSITORY / "deploy", deploy, ignore=ignored)
    subprocess.run([deploy / "compose" / "make-secrets"], check=True, capture_output=True)
    ports = {f"{name}_PORT": str(free_port()) for name in ("PROMETHEUS", "ALERTMANAGER")}
    listen = {"MEDIATOR_LISTEN": f"127.0.0.1:{free_port()}"}
    started = Stack(
        project=f"mediator-{uuid.uuid4().hex[:8]}",
        file=deploy / "compose.yaml",
        environment={**images, **ports, **listen},
    )
    try:
        started.compose("up", "--detach", "--no-build", *STARTED)
        for service in STARTED:
            started.await_healthy(service)
        yield started
    finally:
        started.compose("down", "--volumes")
