"""What stands in this repository, and what must not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.mediator import REPOSITORY

# Of packages, which come from where a machine's settings of apt, pip and npm say. The registry of
# an image is a part of its name.
REGISTRIES = re.compile(
    r"(deb|security|ftp[.\w]*|snapshot|archive|ports)\.(debian|ubuntu)\.(org|com)"
    r"|pypi\.org|pythonhosted\.org|npmjs\.(org|com)|yarnpkg\.com|nodesource\.com|proxy\.golang\.org|crates\.io"
)
_ABOVE = ("*.md", "*.toml", "Dockerfile", ".dockerignore", ".editorconfig", ".gitignore")
_BELOW = (".ci", "bash_shim", "deploy", "docs", "helm", "mediator", "tests")


def files() -> Iterator[Path]:
    for pattern in _ABOVE:
        yield from REPOSITORY.glob(pattern)
    for name in _BELOW:
        for path in (REPOSITORY / name).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def test_no_file_names_the_host_of_a_package_registry() -> None:
    naming = {path for path in files() if REGISTRIES.search(path.read_text(errors="replace"))}
    assert naming == set()
