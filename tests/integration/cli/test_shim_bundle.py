"""The bundle works as it is: its files, put into a pod, hand tickets over."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mediator import Mediator

ECHO = """#!/bin/bash
# /// script
# [tool.mediator]
# kind = "condition"
# ///
printf '%s|' "$0" "$@"
"""
TICKET = b"<ticket_info><id>7</id></ticket_info>"


@pytest.fixture
def mediator(tmp_path: Path) -> Mediator:
    return Mediator(tmp_path / "mediator", {"policies": {"check.sh": {"answer": []}}})


def bundle(mediator: Mediator, pod: Path, *options: str) -> subprocess.CompletedProcess[str]:
    done = mediator.cli("shim", "bundle", str(pod), "--url", mediator.url, *options)
    assert done.returncode == 0, done.stderr
    return done


def call(path: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [path, *arguments],
        input=TICKET,
        capture_output=True,
        check=False,
        timeout=60,
        env={"PATH": os.environ["PATH"], "SCW_EVENT": "TEST"},
    )


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A bundle, where a pod would have it, of a mediator that runs."""
    home = tmp_path_factory.mktemp("bundle")
    mediator = Mediator(home / "mediator")
    for name in ("check.py", "it's $(date).py", "twice.py", "twice.pl"):
        mediator.script(name, ECHO.replace('"condition"', '"validation"'))
    with mediator:
        bundle(mediator, home / "pod")
        yield home / "pod"


@pytest.mark.parametrize(
    ("script", "wrapper"),
    [
        pytest.param("check.py", "check.sh", id="a name with a suffix"),
        pytest.param("it's $(date).py", "it's $(date).sh", id="a name that bash would read"),
    ],
)
def test_a_wrapper_calls_its_script_with_the_arguments_as_they_are(
    pod: Path, script: str, wrapper: str
) -> None:
    done = call(pod / wrapper, "--x", "two words", "")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"/{script}|--x|two words||".encode())


def test_scripts_that_differ_in_their_suffix_alone_get_their_whole_names(pod: Path) -> None:
    done = call(pod / "twice.pl.sh")
    assert b"/twice.pl|" in done.stdout


def test_the_key_is_readable_by_its_owner_alone(mediator: Mediator, tmp_path: Path) -> None:
    mediator.url = "http://127.0.0.1:1"
    bundle(mediator, tmp_path / "pod")
    mode = (tmp_path / "pod" / "securechange-shim.key").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_it_says_what_to_push_and_what_to_type(mediator: Mediator, tmp_path: Path) -> None:
    mediator.url = "http://127.0.0.1:1"
    mediator.script("notify.py", "#!/bin/sh\n")
    mediator.script("broken.py", "#!/no/such/interpreter\n")
    done = bundle(mediator, tmp_path / "my pod")
    assert f"sudo tos scripts sc push --overwrite '{tmp_path}/my pod/notify.sh'" in done.stdout
    assert "/opt/tufin/data/securechange/scripts/notify.sh" in done.stdout
    assert "broken.py is left out, since it is not ready" in done.stderr
    assert not (tmp_path / "my pod" / "broken.sh").exists()
    assert "k" * 40 not in done.stdout + done.stderr


def test_json_says_the_same_to_a_program(mediator: Mediator, tmp_path: Path) -> None:
    mediator.url = "http://127.0.0.1:1 http://127.0.0.1:2"
    mediator.script("notify.py", "#!/bin/sh\n")
    document = json.loads(bundle(mediator, tmp_path / "pod", "--json").stdout)
    assert document["paths"] == {"notify.py": "/opt/tufin/data/securechange/scripts/notify.sh"}
    conf = (tmp_path / "pod" / "securechange-shim.conf").read_text()
    assert "MEDIATOR_URL=http://127.0.0.1:1 http://127.0.0.1:2\n" in conf


def test_a_second_bundle_replaces_the_first(mediator: Mediator, tmp_path: Path) -> None:
    mediator.url = "http://127.0.0.1:1"
    bundle(mediator, tmp_path / "pod")
    mediator.url = "http://127.0.0.1:2"
    bundle(mediator, tmp_path / "pod")
    conf = (tmp_path / "pod" / "securechange-shim.conf").read_text()
    assert "MEDIATOR_URL=http://127.0.0.1:2\n" in conf


def test_what_the_settings_say_of_the_shim_is_in_its_settings(
    mediator: Mediator, tmp_path: Path
) -> None:
    mediator.script("a.sh", ECHO)
    mediator.script("b.sh", ECHO)
    mediator.configure(
        {
            "shim": {
                "url": "http://one.example:8080 http://two.example:8080",
                "timeout": "2m",
                "connect_timeout": "3s",
                "spool_directory": "/var/spool/shim",
                "scripts": ["a.sh"],
            }
        }
    )
    done = mediator.cli("shim", "bundle", str(tmp_path / "pod"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "pod" / "securechange-shim.conf").read_text().splitlines()[1:] == [
        "MEDIATOR_URL=http://one.example:8080 http://two.example:8080",
        "MEDIATOR_KEY_ID=securechange",
        "MEDIATOR_KEY_FILE=securechange-shim.key",
        "MEDIATOR_CONNECT_TIMEOUT=3",
        "MEDIATOR_TIMEOUT=120",
        "MEDIATOR_SPOOL_DIR=/var/spool/shim",
    ]
    assert (tmp_path / "pod" / "a.sh").exists()
    assert not (tmp_path / "pod" / "b.sh").exists()


def test_a_script_that_is_chosen_and_not_there_is_told(mediator: Mediator, tmp_path: Path) -> None:
    mediator.configure({"shim": {"scripts": ["nowhere.py"]}})
    done = mediator.cli("shim", "bundle", str(tmp_path / "pod"), "--url", "http://m.example")
    assert done.returncode == 78
    assert "shim.scripts names nowhere.py, which there is not." in done.stderr
