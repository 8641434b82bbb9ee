"""Containers of the mediator's own image, as somebody runs them with podman or Docker."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.mediator import REPOSITORY

PODMAN = REPOSITORY / "tests" / "image" / "podman"
BUILD = REPOSITORY / "tests" / "image" / "build"
SLIM, FULL = "localhost/mediator:slim", "localhost/mediator:test"
_SECONDS = 120


def podman(*arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[str]:
    """Call it; a failure is for the caller to look at."""
    done = subprocess.run(
        [str(PODMAN), *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=_SECONDS,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def must(*arguments: str) -> str:
    """Call it; what it writes, without the end of the line."""
    done = podman(*arguments)
    assert done.returncode == 0, f"podman {' '.join(arguments)}\n{done.stdout}{done.stderr}"
    return done.stdout.rstrip("\n")


def inspect(image: str) -> dict[str, Any]:
    """What podman knows of an image."""
    (found,) = json.loads(must("image", "inspect", image))
    document: dict[str, Any] = found
    return document


def inside(image: str, program: str, *, user: str = "0", interpreter: str = "bash") -> str:
    """What a program writes in a fresh container of an image; `interpreter` reads it after `-c`."""
    options = ("--rm", "--network", "none", "--user", user, "--entrypoint", interpreter)
    return must("run", *options, image, "-c", program)


@dataclass(frozen=True, kw_only=True, slots=True)
class Container:
    """A container that runs."""

    name: str

    @property
    def url(self) -> str:
        """Where its port 8080 is on this machine."""
        return f"http://{must('port', self.name, '8080/tcp')}"

    def call(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command inside of it."""
        return podman("exec", self.name, *command)

    def is_healthy(self) -> bool:
        """Whether the health check of the image says so now."""
        return podman("healthcheck", "run", self.name).returncode == 0

    def log(self) -> str:
        """What it has written."""
        done = podman("logs", self.name)
        return done.stdout + done.stderr


@contextmanager
def running(
    image: str, *, user: str, mounts: Mapping[Path, str], options: Sequence[str] = ()
) -> Iterator[Container]:
    """A container on a root that is read-only, with nothing writable but `mounts` and /tmp.

    `mounts` are directories of this machine, and where they are inside; `:U` behind that gives
    them to the container's user.
    """
    container = Container(name=f"mediator-test-{uuid.uuid4().hex[:12]}")
    fixed = ("--read-only", "--read-only-tmpfs=false", "--tmpfs", "/tmp:rw,mode=1777")  # noqa: S108
    bound = [f"--volume={source}:{target}" for source, target in mounts.items()]
    port = ("--publish", "127.0.0.1::8080")
    try:
        must(
            *("run", "--detach", "--name", container.name, "--user", user),
            *(*fixed, *bound, *port, *options, image),
        )
        yield container
    finally:
        podman("rm", "--force", "--time", "0", container.name)
