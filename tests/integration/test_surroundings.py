"""tests/run does not care where it is started from, and neither does what a test starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.mediator import REPOSITORY

RUN = REPOSITORY / "tests" / "run"
CTRL_C = "test_ctrl_c_lets_the_script_clean_up"
ODD = {
    "BASH_ENV": "/none/such",
    "CDPATH": "/none/such:.",
    "GREP_OPTIONS": "--invert-match",
    "LC_ALL": "tr_TR.UTF-8",
    "MEDIATOR_CONFIG": "/none/such",
    "MEDIATOR_HTTP__PORT": "1",
    "POSIXLY_CORRECT": "yes",
    "PYTEST_ADDOPTS": "--none-such",
    "PYTHONHOME": "/none/such",
    "PYTHONPATH": "/none/such",
    "TZ": "Pacific/Kiritimati",
    "http_proxy": "http://127.0.0.1:1",
    "https_proxy": "http://127.0.0.1:1",
}
DEAF = "trap '' HUP INT QUIT PIPE TERM USR1; umask 077; exec \"$@\""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("variables", [{}, ODD], ids=["deaf", "deaf and odd"])
def test_ctrl_c_is_heard_in_a_test_whatever_the_tests_were_started_from(
    variables: dict[str, str], tmp_path: Path
) -> None:
    one = ("integration", "--", "-n0", "-p", "no:cacheprovider", "-k", CTRL_C)
    done = subprocess.run(
        ["bash", "-c", DEAF, "bash", "tests/run", *one],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **variables},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("\n1 passed, 0 failed, 0 skipped\n")


@pytest.mark.parametrize("ignored", ["HUP", "INT", "QUIT", "PIPE", "TERM"])
def test_what_a_test_starts_hears_the_signal(ignored: str) -> None:
    """By the state of a process that one with restored signals has started."""
    program = (
        "import subprocess; from tests.support import signals; signals.restore();"
        "subprocess.run(['grep', 'SigIgn', '/proc/self/status'], check=True)"
    )
    told = subprocess.run(
        ["bash", "-c", f"trap '' {ignored}; exec \"$@\"", "bash", sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )
    assert int(told.stdout.split()[1], 16) == 0
