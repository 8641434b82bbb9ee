"""deploy/quickstart: what somebody who has just cloned the repository types first."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.conditions import eventually_true
from tests.support.mediator import REPOSITORY

pytestmark = pytest.mark.timeout(300)
"""Several starts one after another take long on a busy machine."""

QUICKSTART = REPOSITORY / "deploy" / "quickstart"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The tests' own environment serves, so that nothing is downloaded again."""
    return {
        **os.environ,
        "MEDIATOR_VENV": os.environ.get("MEDIATOR_VENV", sys.prefix),
        "MEDIATOR_QUICKSTART_DIR": str(tmp_path / "quickstart"),
        "MEDIATOR_HTTP__PORT": "1",  # of somebody's other mediator: not meant for this one
    }


def run(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [QUICKSTART, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_it_shows_the_way_of_a_ticket_and_leaves_nothing(
    environment: dict[str, str], tmp_path: Path
) -> None:
    shown = run(environment=environment)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    for pattern in (
        r"accepted as delivery [0-9a-f-]{36}",
        r"succeeded",
        r"CREATE: ticket 4711, 'Open port 443 to the web shop'",
        r"arguments \['first argument'\]",
        r'mediator_attempts_total\{code="0",outcome="ok",script="notify\.py"\} 1\.0',
    ):
        assert re.search(pattern, shown.stdout), shown.stdout
    assert list((tmp_path / "quickstart").iterdir()) == []


def test_it_works_wherever_it_is_called_from(environment: dict[str, str]) -> None:
    odd = {
        "BASH_ENV": "/none/such",
        "CDPATH": "/none/such:.",
        "LC_ALL": "tr_TR.UTF-8",
        "POSIXLY_CORRECT": "yes",
        "PYTHONHOME": "/none/such",
        "PYTHONPATH": "/none/such",
        "all_proxy": "http://127.0.0.1:1",
        "http_proxy": "http://127.0.0.1:1",
    }
    deaf = "trap '' HUP INT QUIT PIPE TERM; umask 077; exec deploy/quickstart"
    shown = subprocess.run(
        ["bash", "-c", deaf],
        env={**environment, **odd},
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "All is well, and stopped again." in shown.stdout


def test_stay_leaves_it_running_and_says_how_to_send_more(
    environment: dict[str, str], tmp_path: Path
) -> None:
    output = tmp_path / "output"
    with output.open("w") as file:
        process = subprocess.Popen(
            [QUICKSTART, "--stay"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        eventually_true(lambda: "The log is" in output.read_text(), seconds=100)
        (command,) = re.findall(
            r"^ *(SCW_EVENT=.*securechange-shim.*)$", output.read_text(), re.MULTILINE
        )
        sent = subprocess.run(
            ["/bin/bash", "-c", command],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert sent.returncode == 0, sent.stderr
        assert "accepted as delivery" in sent.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0, output.read_text()
    finally:
        process.kill()
        process.wait()
    assert list((tmp_path / "quickstart").iterdir()) == []


def test_a_mistake_is_one_sentence(environment: dict[str, str]) -> None:
    mistaken = run("--stya", environment=environment)
    assert mistaken.returncode == 1
    assert mistaken.stderr == "quickstart: there is no option --stya; see --help\n"
    assert mistaken.stdout == ""


def test_an_environment_without_a_mediator_is_said_so(
    environment: dict[str, str], tmp_path: Path
) -> None:
    failed = run(environment={**environment, "MEDIATOR_VENV": str(tmp_path)})
    assert failed.returncode == 1
    assert failed.stderr == f"quickstart: there is no mediator in {tmp_path}\n"


def test_an_environment_behind_a_link_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "precious").touch()
    (tmp_path / "link").symlink_to("others")
    library = REPOSITORY / "deploy" / "environment.bash"
    command = f"source {library}; make_environment {tmp_path / 'link'} requirements.txt"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is a link" in done.stderr
    assert (tmp_path / "others" / "precious").exists()
