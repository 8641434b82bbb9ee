"""Images for tests, made of Debian packages, since a registry of images may be out of reach."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.podman import must

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "mediator-tests"
_SUITE = "bookworm"
"""Its Python is 3.11, the oldest that the mediator runs on."""


def debian_image(name: str, packages: Sequence[str], *changes: str) -> str:
    """The tag of an image with these packages; it is made once. `changes` are of a Dockerfile."""
    recipe = "\n".join([_SUITE, *sorted(packages), *changes])
    tag = f"localhost/mediator-tests/{name}:{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    with one_at_a_time(name):
        if not must("images", "--quiet", tag):
            _make_image(tag, packages, changes)
    return tag


def _make_image(tag: str, packages: Sequence[str], changes: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        root, archive = f"{directory}/root", f"{directory}/root.tar"
        include = ",".join(packages)
        _run("debootstrap", "--variant=minbase", f"--include={include}", _SUITE, root, _mirror())
        _run("tar", "-C", root, "--exclude=./var/cache/apt/archives/*.deb", "-cf", archive, ".")
        options = (option for change in changes for option in ("--change", change))
        must("import", "--quiet", *options, archive, tag)


def _mirror() -> str:
    """Where apt gets Debian from, on Debian; elsewhere where everybody does."""
    told = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = (line.rpartition(" ") for line in told.stdout.splitlines())
    return next((uri for uri, _, suite in found if suite == _SUITE), "http://deb.debian.org/debian")


def _run(*command: str) -> None:
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert told.returncode == 0, f"{command}: {told.stdout[-2000:]}{told.stderr[-2000:]}"


@contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Hold a lock of this name, also against other processes of pytest."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
