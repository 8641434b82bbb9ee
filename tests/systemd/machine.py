"""A machine with systemd, in a container, without any network: what is installed is brought along.

Everything is done inside, as an administrator would: install.sh, systemctl, the `mediator` command,
and the shim.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.support.checkout import REPOSITORY, copy_checkout
from tests.support.conditions import eventually_true
from tests.support.debian import CACHE, debian_image, one_at_a_time
from tests.support.podman import PODMAN, must, podman

TICKET = (REPOSITORY / "deploy" / "quickstart.d" / "ticket.xml").read_bytes()
PACKAGES = [
    *("systemd", "systemd-sysv", "dbus", "mount", "procps", "ca-certificates"),
    *("python3", "python3-venv", "postgresql"),
]
# Credentials are mounts, which must reach the rest of the machine as on a real one.
START = 'CMD ["/bin/sh", "-c", "mount --make-rshared / && exec /sbin/init"]'
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels"}
GLIBCS = range(17, 37)

Told = subprocess.CompletedProcess[str]


def image() -> str:
    """The image of the machines."""
    return debian_image("systemd", PACKAGES, START, "STOPSIGNAL SIGRTMIN+3")


def wheels() -> Path:
    """A directory with every package that is installed, for the machine's Python."""
    files = [REPOSITORY / "deploy" / name for name in ("requirements.txt", "requirements-all.txt")]
    key = sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    directory = CACHE / f"wheels-{key}"
    with one_at_a_time("wheels"):
        if not (directory / "complete").exists():
            shutil.rmtree(directory, ignore_errors=True)
            for file in files:
                _download(file, directory)
            (directory / "complete").touch()
    return directory


def _download(requirements: Path, directory: Path) -> None:
    machine = os.uname().machine
    tags = [*(f"manylinux_2_{minor}_{machine}" for minor in GLIBCS), f"manylinux2014_{machine}"]
    platforms = [f"--platform={tag}" for tag in tags]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes"]
    target = ["--only-binary=:all:", "--python-version=3.11", *platforms, f"--dest={directory}"]
    told = subprocess.run(
        [*command, *target, "-r", requirements], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """One machine that runs."""

    name: str
    share: Path
    """/share in the machine"""

    def run(
        self, *argv: str, environment: Mapping[str, str] | None = None, stdin: bytes = b""
    ) -> Told:
        """Run a command as root; whatever comes of it."""
        variables = [f"--env={key}={value}" for key, value in (environment or {}).items()]
        told = subprocess.run(
            [PODMAN, "exec", "--interactive", *variables, self.name, *argv],
            capture_output=True,
            check=False,
            timeout=300,
            input=stdin,
        )
        return subprocess.CompletedProcess(
            argv, told.returncode, told.stdout.decode(), told.stderr.decode()
        )

    def do(self, *argv: str, stdin: bytes = b"") -> str:
        """The same for a command that succeeds; what it prints."""
        told = self.run(*argv, stdin=stdin)
        assert told.returncode == 0, f"{argv}: {told.stdout}{told.stderr}{self.journal()}"
        return told.stdout.strip()

    def bash(self, text: str, *arguments: str) -> str:
        """Run a few lines of bash that succeed."""
        return self.do("bash", "-euo", "pipefail", "-c", text, "bash", *arguments)

    def exists(self, path: str) -> bool:
        """Whether there is such a file or directory."""
        return self.run("test", "-e", path).returncode == 0

    def write(self, path: str, text: str, mode: str = "0644") -> None:
        """Write a file, whole at once."""
        fresh = f"{path}.new"
        line = 'mkdir -p "${1%/*}" && cat >"$2" && chmod "$3" "$2" && mv "$2" "$1"'
        self.do("bash", "-c", line, "bash", path, fresh, mode, stdin=text.encode())

    # --- the service ----------------------------------------------------------------------------

    def install(
        self, *options: str, checkout: str = "checkout", environment: Mapping[str, str] = OFFLINE
    ) -> Told:
        """Run install.sh of a checkout below the share."""
        return self.run(f"/share/{checkout}/deploy/install.sh", *options, environment=environment)

    def show(self, name: str) -> str:
        """A property of the service."""
        return self.do("systemctl", "show", f"--property={name}", "--value", "mediator.service")

    def journal(self) -> str:
        """The last words of the service."""
        return self.run("journalctl", "-u", "mediator", "-n", "40", "-o", "cat").stdout

    def await_state(self, state: str) -> None:
        """Wait until systemd says so: active, inactive, ..."""
        eventually_true(lambda: self.show("ActiveState") == state)

    def await_file(self, path: str) -> None:
        """Wait until a script has made a file."""
        eventually_true(lambda: self.exists(path))

    # --- as SecureChange and as an operator -----------------------------------------------------

    def script(self, name: str, text: str) -> None:
        """Put a script into the scripts directory, and wait until it can run."""
        self.write(f"/srv/mediator/scripts/{name}", text, "0755")
        eventually_true(lambda: self._ready(name))

    def _ready(self, name: str) -> bool:
        told = self.run("mediator", "scripts", "--json")
        if told.returncode != 0:
            return False
        items = json.loads(told.stdout)["items"]
        return any(item["name"] == name and item["ready"] for item in items)

    def shim(self, script: str, *arguments: str) -> Told:
        """Hand a ticket over by the real shim."""
        return self.run(
            "bash",
            "/share/checkout/bash_shim/securechange-shim",
            script,
            *arguments,
            environment=SHIM,
            stdin=TICKET,
        )

    def hand_over(self, script: str, *arguments: str) -> str:
        """The same, taken; the delivery's id."""
        told = self.shim(script, *arguments)
        assert told.returncode == 0, told.stderr
        return told.stderr.partition("delivery ")[2].split()[0].strip(".,;:")

    def delivery(self, identifier: str) -> dict[str, Any]:
        """One delivery with its attempts."""
        shown: dict[str, Any] = json.loads(
            self.do("mediator", "deliveries", "show", identifier, "--json")
        )
        return shown

    def ended(self, identifier: str) -> dict[str, Any]:
        """The same, once it has ended."""

        def over() -> bool:
            told = self.run("mediator", "deliveries", "show", identifier, "--json")
            done = {"succeeded", "dead", "cancelled"}
            return told.returncode == 0 and json.loads(told.stdout)["state"] in done

        eventually_true(over)
        return self.delivery(identifier)


SHIM = {
    "SCW_EVENT": "CREATE",
    "MEDIATOR_URL": "http://127.0.0.1:8080",
    "MEDIATOR_KEY_ID": "securechange",
    "MEDIATOR_KEY_FILE": "/etc/mediator/credentials/securechange.key",
}


@contextmanager
def machine(directory: Path) -> Iterator[Machine]:
    """A fresh machine, with a checkout at /share/checkout."""
    directory.chmod(0o755)  # install.sh is also called by those who may not install
    copy_checkout(directory / "checkout")
    name = f"mediator-systemd-{uuid.uuid4().hex[:8]}"
    options = ["--privileged", "--systemd=always", "--network=none", f"--name={name}"]
    mounts = [f"--volume={directory}:/share", f"--volume={wheels()}:/wheels:ro"]
    must("run", "--detach", *options, *mounts, image())
    try:
        started = Machine(name=name, share=directory)
        eventually_true(lambda: _is_up(started))
        yield started
    finally:
        podman("rm", "--force", "--time=1", name)


def _is_up(started: Machine) -> bool:
    return started.run("systemctl", "is-system-running").stdout.strip() in {"running", "degraded"}
