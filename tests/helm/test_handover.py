"""What `helm test` runs, against a real mediator and by the real shim."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.helm import CHART, Helm, the
from tests.support.mediator import REPOSITORY, Mediator
from tests.support.prometheus import free_port

HELLO = """\
#!/bin/bash
printf 'hello %s\\n' "$SCW_EVENT"
"""


@pytest.fixture(scope="module")
def mediator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mediator]:
    """One with a script."""
    mediator = Mediator(tmp_path_factory.mktemp("mediator"))
    mediator.script("hello.py", HELLO)
    mediator.script("fails.py", "#!/bin/sh\nexit 3\n")
    with mediator:
        yield mediator


def _run(
    helm: Helm, mediator: Mediator, directory: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """The container of the test pod, with the files and the address of this mediator."""
    rendered = helm.template(CHART / "ci" / "sqlite-values.yaml")
    (container,) = the(rendered, "Pod")["spec"]["containers"]
    directory.mkdir()
    program = directory / "mediator"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m mediator "$@"\n')
    program.chmod(0o755)
    env = {one["name"]: one["value"] for one in container["env"]}
    env |= {
        "HOME": str(directory),
        "MEDIATOR_CONFIG": str(mediator.config),
        "MEDIATOR_SCRIPTS__DIRECTORY": str(directory),
        "MEDIATOR_URL": mediator.url,
        "PATH": f"{directory}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "TMPDIR": str(directory),
        **variables,
    }
    return subprocess.run(
        [*container["command"], *container["args"]],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_script_gets_the_event_and_its_answer_is_checked(
    helm4: Helm, mediator: Mediator, tmp_path: Path
) -> None:
    done = _run(helm4, mediator, tmp_path / "pod")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "reachable" in done.stdout
    assert "hello TEST" in done.stdout


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"EXPECT": "goodbye"}, "the answer does not hold: goodbye"),
        ({"SCRIPT": "fails.py"}, "fails.py exited with 3"),
        ({"SCRIPT": "none.py"}, "none.py exited with 78"),
    ],
    ids=["another answer", "another exit code", "no such script"],
)
def test_the_test_fails_when_the_script_does(
    helm4: Helm, mediator: Mediator, tmp_path: Path, variables: dict[str, str], said: str
) -> None:
    done = _run(helm4, mediator, tmp_path / "pod", **variables)
    assert done.returncode == 1, done.stdout + done.stderr
    assert said in done.stdout


def test_without_a_script_the_key_and_the_address_are_proved(
    helm4: Helm, mediator: Mediator, tmp_path: Path
) -> None:
    done = _run(helm4, mediator, tmp_path / "pod", SCRIPT="", EXPECT="")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "address, key and clock are right" in done.stdout


def test_a_wrong_key_fails_the_test(helm4: Helm, mediator: Mediator, tmp_path: Path) -> None:
    stranger = Mediator(tmp_path / "stranger", url=mediator.url)
    (stranger.home / "securechange.key").write_text("x" * 40 + "\n")
    done = _run(helm4, stranger, tmp_path / "pod", SCRIPT="", EXPECT="")
    assert done.returncode == 77, done.stdout + done.stderr
    assert "key securechange is refused" in done.stdout


def test_a_mediator_that_is_away_fails_the_test(helm4: Helm, tmp_path: Path) -> None:
    away = Mediator(tmp_path / "mediator", url=f"http://127.0.0.1:{free_port()}")
    done = _run(helm4, away, tmp_path / "pod")
    assert done.returncode != 0
    assert "not reachable" in done.stdout
