"""A Debian 12 that has Python and nothing else, in a container with a clone of this repository."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.checkout import clone_checkout
from tests.support.debian import debian_image
from tests.support.podman import PODMAN, must, podman
from tests.support.registries import Registries

CLONE = "mediator"
# Something must wait for processes whose parents have ended, as on every machine.
_START = 'CMD ["/bin/bash", "-c", "trap exit TERM; while :; do sleep 3600 & wait; done"]'
_SECONDS = 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """It runs; commands are typed in the clone, by `root` or by `someone`."""

    name: str

    def type(self, command: str, *, user: str = "root") -> subprocess.CompletedProcess[str]:
        """What comes of a command after a log-in."""
        line = f"cd ~/{CLONE} && {command}"
        return subprocess.run(
            [PODMAN, "exec", self.name, "su", "--login", user, "--command", line],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_SECONDS,
        )


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    directory = tmp_path_factory.mktemp("fresh")
    clone_checkout(directory / CLONE)
    image = debian_image("fresh", ["python3"], _START)
    name = f"mediator-fresh-{uuid.uuid4().hex[:8]}"
    alike = ("--privileged", "--network=host", "--pids-limit=-1", "--shm-size=1g")
    must("run", "--detach", f"--name={name}", *alike, *_settings(directory), image)
    try:
        must("exec", name, "useradd", "--create-home", "--shell=/bin/bash", "someone")
        for home, owner in (("/root", "root"), ("/home/someone", "someone")):
            must("cp", str(directory / CLONE), f"{name}:{home}/{CLONE}")
            must("exec", name, "chown", "-R", f"{owner}:", f"{home}/{CLONE}")
        yield Machine(name=name)
    finally:
        podman("rm", "--force", "--time=0", name)


def _settings(directory: Path) -> list[str]:
    settings = directory / "settings"
    settings.mkdir()
    hasty = settings / "dpkg"
    hasty.write_text("force-unsafe-io\n")  # no fsync for a file of a machine that is thrown away
    options = Registries(settings).options
    return [*options, f"--volume={hasty}:/etc/dpkg/dpkg.cfg.d/hasty:ro"]
