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
from tests.support.registries import archives

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
        # Where the archive is not known, debootstrap knows one.
        mirror = [archive.uri for archive in archives() if archive.suite == _SUITE][:1]
        # In a namespace of its own: what it mounts there ends with it, however it ends.
        alone = ("unshare", "--mount", "--propagation=private")
        _run(
            *alone,
            "debootstrap",
            "--variant=minbase",
            f"--include={include}",
            _SUITE,
            root,
            *mirror,
        )
        _run("tar", "-C", root, "--exclude=./var/cache/apt/archives/*.deb", "-cf", archive, ".")
        options = (option for change in changes for option in ("--change", change))
        must("import", "--quiet", *options, archive, tag)


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
