"""What is in the image, and what is not."""

from __future__ import annotations

import json
import re

import pytest

import mediator
from tests.support.mediator import REPOSITORY
from tests.support.podman import FULL, SLIM, inside, inspect

pytestmark = pytest.mark.timeout(900)  # the first one builds the image

PYTHON = "/opt/mediator/bin/python"
SBOM = "/usr/share/doc/mediator/sbom.cdx.json"
INSTALLED = """
import importlib.metadata, json
print(json.dumps({d.name: d.version for d in importlib.metadata.distributions()}))
"""


def normal(name: str) -> str:
    """A name as the index spells it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(image: str) -> dict[str, str]:
    found = json.loads(inside(image, INSTALLED, interpreter=PYTHON))
    return {normal(name): version for name, version in found.items()}


def locked(file: str) -> set[tuple[str, str]]:
    text = (REPOSITORY / "deploy" / file).read_text()
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\\n]+)", text, re.MULTILINE)
    return {(normal(name), version) for name, version in found}


def test_the_bill_of_materials_is_what_is_installed(image: str) -> None:
    bill = json.loads(inside(image, f"cat {SBOM}"))
    assert (bill["bomFormat"], bill["specVersion"][:2]) == ("CycloneDX", "1.")
    listed = {normal(part["name"]): part["version"] for part in bill["components"]}
    there = installed(image)
    own = there.pop("securechange-mediator")
    assert own == mediator.__version__
    assert listed == there
    assert normal(bill["metadata"]["component"]["name"]) == "securechange-mediator"
    assert bill["metadata"]["component"]["version"] == own


def test_what_is_installed_is_what_was_locked(image: str) -> None:
    file = "requirements.txt" if image == SLIM else "requirements-all.txt"
    there = {pair for pair in installed(image).items() if pair[0] != "securechange-mediator"}
    assert there <= locked(file)
    assert {"aiohttp", "uv"} <= {name for name, _ in there}


@pytest.mark.usefixtures("built")
def test_the_extras_are_in_the_second_target_alone() -> None:
    program = "import kubernetes, opentelemetry.sdk, psycopg; print(psycopg.pq.__impl__)"
    assert inside(FULL, program, interpreter=PYTHON) == "binary"
    assert {"kubernetes", "psycopg", "opentelemetry-sdk"}.isdisjoint(installed(SLIM))


def test_scripts_find_a_python_without_the_packages_of_the_mediator(image: str) -> None:
    program = """
        python3 -c 'import sys; print(sys.prefix)'
        ! python3 -c 'import aiohttp' 2>/dev/null && echo none
    """
    assert inside(image, program).split() == ["/usr/local", "none"]


def test_no_file_gives_rights(image: str) -> None:
    assert inside(image, r"find / -xdev -perm /6000 -type f") == ""


def test_nothing_belongs_to_who_runs_it_but_the_state(image: str) -> None:
    found = inside(image, r"find / -xdev \( -uid 65532 -o -perm /2 ! -type l ! -perm -1000 \)")
    assert found.splitlines() == ["/var/lib/mediator"]


def test_there_is_no_compiler_and_no_cache(image: str) -> None:
    program = r"""
        for name in gcc cc g++ c++ clang make ld as rustc cargo git curl wget; do
            ! type -P "$name"
        done
        find / -xdev \( -name '*.whl' -o -path '*/.cache/*' -o -path '*/cache/apt/*' \)
        find /var/lib/apt/lists /var/log -type f
        ! /opt/mediator/bin/python -c 'import pip' 2>/dev/null
    """
    found = inside(image, program).split()
    assert [path for path in found if "/ensurepip/" not in path] == []  # a part of Python itself


def test_no_test_of_the_project_is_in_it(image: str) -> None:
    own = "/opt/mediator/lib/python3.13/site-packages/mediator"
    assert inside(image, f"find {own} {own}/../tests -iname '*test*' 2>/dev/null || true") == ""
    assert inside(image, "ls -d /build /opt/mediator/files 2>/dev/null || true") == ""


def test_what_the_chart_calls_is_on_the_path(image: str) -> None:
    program = "type -P mediator bash sh cp tar tini && cp --version && tar --version"
    found = inside(image, program, user="12345:12345")
    assert found.splitlines()[0] == "/usr/local/bin/mediator"
    assert "GNU coreutils" in found
    assert "GNU tar" in found


def test_nothing_has_to_be_compiled_at_a_start(image: str) -> None:
    program = """
import importlib.util, os
for name in ("json", "asyncio", "xml.etree.ElementTree", "mediator.daemon.daemon", "aiohttp"):
    path = importlib.util.find_spec(name).cached
    flags = open(path, "rb").read(8)[4:]
    # PEP 552: 1 is a hash that is not looked at, so no time of a file counts.
    print(name, int.from_bytes(flags, "little"))
"""
    found = inside(image, program, interpreter=PYTHON).splitlines()
    assert len(found) == 5
    assert {line.split()[1] for line in found} == {"1"}


def test_the_labels_say_what_it_is(image: str) -> None:
    labels = {
        name.removeprefix("org.opencontainers.image."): value
        for name, value in inspect(image)["Config"]["Labels"].items()
    }
    assert labels["version"] == mediator.__version__
    assert labels["licenses"] == "Apache-2.0"
    assert labels["title"] == "mediator"
    assert labels["base.name"] == "docker.io/library/python:3.13-slim-bookworm"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", labels["created"])
    assert re.fullmatch(r"[0-9a-f]{40}|unknown", labels["revision"])


def test_it_runs_as_nobody_in_particular(image: str) -> None:
    found = inspect(image)
    config = found["Config"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["tini", "--", "mediator"]
    assert found["Healthcheck"]["Test"] == ["CMD", "mediator", "health"]
    assert "Volumes" not in config
