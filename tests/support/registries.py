"""How a container gets packages: as this machine does, whose settings for that it is given.

Which registries these are is the machine's business, and nothing in this repository names one.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

_MACHINE = "/machine"
"""Where the container finds the files of this machine that settings name."""
_PATH = re.compile(r"(?:(?<=file://)|(?<![\w:/.@-]))/[^\s'\";,:]+")
_VARIABLES = re.compile(
    r"PIP_.*|(npm_config|NPM_CONFIG)_.*|.*_(proxy|PROXY|CA_BUNDLE)|SSL_CERT_.*|NODE_EXTRA_CA_CERTS"
)
_NPM = re.compile(r"(registry|cafile|ca|proxy|https-proxy|noproxy|strict-ssl|//\S+)\s*=.*")
_NOT_OF_FETCHING = re.compile(r"Acquire(::(IndexTargets|CompressionTypes|cdrom|Changelogs)\b.*)? ")
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


class Archive(NamedTuple):
    """One of Debian, from which this machine installs packages."""

    uri: str
    suite: str
    component: str


def archives() -> list[Archive]:
    """Those of apt's settings; none where there is no apt, or no Debian behind it."""
    told = _told(
        "apt-get",
        *("indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"),
        *("Created-By: Packages", "Origin: Debian"),
    )
    return [Archive(*line.split()) for line in told.splitlines()]


@dataclass
class Registries:
    """The settings, written into `directory`; `options` are those of `podman run`."""

    directory: Path
    options: list[str] = field(default_factory=list)
    _named: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Write them."""
        self._file("/etc/apt/sources.list", "".join(f"deb {_joined(a)}\n" for a in archives()))
        self._file("/etc/apt/apt.conf.d/99machine", "".join(_of_apt()))
        self._file("/etc/pip.conf", _of_pip())
        self._file("/root/.npmrc", "".join(f"{line}\n" for line in _of_npm()))
        self._file("/etc/environment", "".join(_of_the_environment()))
        self.options += [f"--volume={path}:{_MACHINE}{path}:ro" for path in sorted(self._named)]

    def _file(self, path: str, text: str) -> None:
        file = self.directory / path.rpartition("/")[2]
        file.write_text(self._moved(text))
        self.options.append(f"--volume={file}:{path}:ro")

    def _moved(self, text: str) -> str:
        """The text, with the paths as the container has them."""
        return _PATH.sub(self._path, text)

    def _path(self, found: re.Match[str]) -> str:
        path = Path(found[0])
        if not path.exists():
            return found[0]
        # An index of packages in a folder leads to files beside that.
        self._named.add(str(path.parent if path.name == "simple" else path))
        return f"{_MACHINE}{found[0]}"


def _of_the_environment() -> Iterator[str]:
    return (f"{name}={value}\n" for name, value in os.environ.items() if _VARIABLES.fullmatch(name))


def _joined(archive: Archive) -> str:
    return " ".join(archive)


def _of_apt() -> Iterator[str]:
    for line in _told("apt-config", "dump", "Acquire").splitlines():
        if not _NOT_OF_FETCHING.match(line):
            yield f"{line}\n"
    if _CERTIFICATES.exists():  # a bare Debian has none
        yield f'Acquire::https::CaInfo "{_CERTIFICATES}";\n'


def _of_pip() -> str:
    sections: dict[str, dict[str, str]] = defaultdict(dict)
    for line in _told(sys.executable, "-m", "pip", "config", "list").splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if not section.startswith(":env:"):
            sections[section][key] = str(ast.literal_eval(value))
    return "".join(
        f"[{section}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())
        for section, keys in sections.items()
    )


def _of_npm() -> Iterator[str]:
    for file in (Path("/etc/npmrc"), Path("/usr/etc/npmrc"), Path.home() / ".npmrc"):
        if file.is_file():
            yield from filter(_NPM.fullmatch, file.read_text().splitlines())


def _told(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:  # no apt here
        return ""
