"""The image as it is run: read-only, as any user, and as process 1."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.support.conditions import eventually_true
from tests.support.mediator import KEY, OPERATOR, SHIM
from tests.support.podman import FULL, Container, inside, must, podman, running
from tests.support.scripts import OK
from tests.support.wheels import make_wheel

pytestmark = pytest.mark.timeout(900)  # the first one builds the image

NEEDY = """\
#!/usr/bin/env python3
# /// script
# dependencies = ["something-needed"]
# [tool.mediator]
# kind = "condition"
# answer = []
# ///
import sys
import something_needed
print(something_needed.VALUE, len(sys.stdin.buffer.read()), sys.prefix)
"""
GATED = """\
#!/bin/bash
touch /var/lib/mediator/started
until [[ -e /var/lib/mediator/gate ]]; do sleep 0.05; done
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Home:
    """What is mounted: scripts, secrets, wheels, settings and state."""

    directory: Path

    def write(self, name: str, text: str, *, mode: int = 0o755) -> Path:
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    @property
    def mounts(self) -> Mapping[Path, str]:
        inside = {
            "scripts": "/scripts:ro",
            "wheels": "/wheels:ro",
            "settings": "/etc/mediator:ro",
            "secrets": "/etc/mediator-auth:ro,U",
            "state": "/var/lib/mediator:U",
        }
        return {self.directory / name: target for name, target in inside.items()}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(directory=tmp_path)
    home.write("secrets/securechange.key", f"{KEY.secret.decode()}\n", mode=0o600)
    home.write("secrets/operator.token", f"{OPERATOR}\n", mode=0o600)
    home.write("key", f"{KEY.secret.decode()}\n", mode=0o600)
    home.write("scripts/needy.py", NEEDY)
    home.write("scripts/gated.sh", GATED)
    home.write("scripts/ok.sh", OK)
    make_wheel(tmp_path / "wheels", "something-needed", "2.5")
    (tmp_path / "state").mkdir()
    settings = yaml.safe_load(inside(FULL, "cat /etc/mediator/mediator.yaml"))
    settings["environments"] |= {"offline": True, "wheels": ["/wheels"]}
    home.write("settings/mediator.yaml", yaml.safe_dump(settings), mode=0o644)
    return home


@pytest.fixture
def container(image: str, home: Home) -> Iterator[Container]:
    """One that has become healthy, as a user that the image does not know."""
    user = random.randint(100_000, 900_000)  # noqa: S311 - any will do
    with running(image, user=f"{user}:{user}", mounts=home.mounts) as container:
        until_healthy(container)
        yield container


def until_healthy(container: Container) -> None:
    try:
        eventually_true(container.is_healthy)
    except AssertionError:
        pytest.fail(container.log())


def shim(
    container: Container, home: Home, script: str, ticket: bytes
) -> subprocess.CompletedProcess[bytes]:
    """Hand a ticket over from this machine, as SecureChange does."""
    return subprocess.run(
        ["/bin/bash", str(SHIM), script],
        input=ticket,
        capture_output=True,
        check=False,
        timeout=60,
        env={
            "PATH": "/usr/bin:/bin",
            "SCW_EVENT": "CREATE",
            "MEDIATOR_URL": container.url,
            "MEDIATOR_KEY_ID": KEY.id,
            "MEDIATOR_KEY_FILE": str(home.directory / "key"),
        },
    )


def states(container: Container) -> list[str]:
    listed = container.call("mediator", "deliveries", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    return [delivery["state"] for delivery in json.loads(listed.stdout)["items"]]


def test_a_ticket_through_the_shim_runs_a_script_with_its_packages(
    container: Container, home: Home
) -> None:
    # Not at the first look: it is healthy before every package is installed.
    eventually_true(lambda: b"something" not in shim(container, home, "needy", b"").stderr)
    done = shim(container, home, "needy", b"<ticket_info><id>7</id></ticket_info>")
    assert done.returncode == 0, done.stderr
    version, size, prefix = done.stdout.decode().split()
    assert (version, size) == ("2.5", "37")
    assert prefix.startswith("/var/lib/mediator/environments/")


def test_a_stop_lets_what_runs_end_and_loses_nothing(container: Container, home: Home) -> None:
    state = home.directory / "state"
    assert shim(container, home, "gated", b"<ticket_info/>").returncode == 0
    eventually_true((state / "started").exists)
    must("kill", "--signal", "TERM", container.name)
    eventually_true(lambda: not container.is_healthy())
    home.write("state/gate", "")
    assert must("wait", container.name) == "0", container.log()
    must("start", container.name)
    until_healthy(container)
    assert states(container) == ["succeeded"]


def test_what_an_exec_leaves_behind_is_reaped(container: Container) -> None:
    pid = container.call("sh", "-c", "sleep 0.1 >/dev/null 2>&1 & echo $!").stdout.strip()
    assert int(pid) > 1
    # A process that ended and that nobody waits for keeps its entry.
    eventually_true(lambda: container.call("test", "!", "-e", f"/proc/{pid}").returncode == 0)
    names = container.call("cat", "/proc/1/comm").stdout
    assert names == "tini\n"


def test_without_settings_of_its_own_it_needs_secrets_alone(image: str, home: Home) -> None:
    mounts = {source: target for source, target in home.mounts.items() if source.name != "settings"}
    with running(image, user="65532:65532", mounts=mounts) as container:
        until_healthy(container)
        assert shim(container, home, "ok", b"<ticket_info/>").returncode == 0


def test_without_secrets_it_says_which_are_missing(image: str) -> None:
    done = podman("run", "--rm", "--network", "none", image)
    assert done.returncode == 78
    assert "/etc/mediator-auth/" in done.stderr


def test_every_command_of_the_mediator_can_be_given(image: str) -> None:
    assert must("run", "--rm", "--network", "none", image, "--version") == "0.1.0"
