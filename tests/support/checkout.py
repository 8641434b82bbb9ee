"""Copies of this repository as it is now, for machines that tests make."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def copy_checkout(target: Path) -> None:
    """What belongs to the repository, changes that are not committed included, without history."""
    for name in _names(REPOSITORY, "--cached", "--others", "--exclude-standard"):
        if (REPOSITORY / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, target / name)


def clone_checkout(target: Path) -> None:
    """The same as a clone, in which those changes are not committed either."""
    _git("clone", "--quiet", "--no-hardlinks", str(REPOSITORY), str(target))
    for name in _names(target, "--cached"):
        (target / name).unlink()
    copy_checkout(target)


def _names(directory: Path, *options: str) -> list[str]:
    return [
        name for name in _git("-C", str(directory), "ls-files", "-z", *options).split("\0") if name
    ]


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
