"""What somebody types first who has a new Debian and a clone, as the README says."""

from __future__ import annotations

import pytest

from tests.fresh.conftest import Machine
from tests.support.mediator import REPOSITORY

pytestmark = pytest.mark.timeout(900)
README = (REPOSITORY / "README.md").read_text()
"""Its commands stand in lines of their own, with a comment."""


def test_who_may_install_nothing_is_told_what_is_missing(machine: Machine) -> None:
    told = machine.type("deploy/quickstart", user="someone")
    assert told.returncode == 1
    assert told.stderr == (
        "quickstart: this needs Python 3.11 or newer with its venv module: "
        "on Debian install python3-venv, on RHEL python3.11\n"
    )


def test_the_quickstart_shows_the_mediator_at_work(machine: Machine) -> None:
    assert "\n    deploy/quickstart  " in README
    told = machine.type("deploy/quickstart")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "All is well, and stopped again." in told.stdout


@pytest.mark.timeout(3600)
def test_every_check_passes(machine: Machine) -> None:
    assert "\n    tests/run  " in README
    told = machine.type("tests/run")
    assert told.returncode == 0, told.stdout + told.stderr
    print("".join(told.stdout.splitlines(keepends=True)[-15:]))  # noqa: T201 - its table
