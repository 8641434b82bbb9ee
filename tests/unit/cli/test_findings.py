"""What `mediator check` finds, and how bad it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mediator.cli.check import exit_code
from mediator.cli.findings import Finding, Grade, findings, intention
from mediator.settings.load import load
from mediator.settings.schema import Settings
from mediator.settings.secrets import new_secret_file

WITH_OPERATOR = "auth: {tokens: [{name: ops, role: operator, secret_file: ops.token}]}\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    new_secret_file(tmp_path / "securechange.key")
    new_secret_file(tmp_path / "ops.token")
    add(tmp_path, "notify.sh", "#!/bin/sh\n")
    return tmp_path


def add(home: Path, name: str, text: str) -> None:
    path = home / "scripts" / name
    path.write_text(text)
    path.chmod(0o755)


def settings(home: Path, text: str = WITH_OPERATOR) -> Settings:
    path = home / "mediator.yaml"
    path.write_text(text)
    return load(path)


def found(home: Path, text: str = WITH_OPERATOR) -> dict[str, Finding]:
    return {finding.what: finding for finding in findings(settings(home, text))}


def test_all_is_well(home: Path) -> None:
    everything = found(home)
    assert {finding.grade for finding in everything.values()} == {Grade.OK}
    assert set(everything) == {"secrets", "store.url", "dispatch.work_directory", "notify.sh"}
    assert exit_code(list(everything.values())) == 0


def test_nothing_is_made(home: Path) -> None:
    before = sorted(home.rglob("*"))
    assert "will be made" in found(home)["store.url"].detail
    assert sorted(home.rglob("*")) == sorted([*before, home / "mediator.yaml"])


def test_all_problems_are_found_in_one_run(home: Path) -> None:
    (home / "securechange.key").unlink()
    (home / "state").write_text("a file where a directory belongs")
    add(home, "bad.sh", "#!/no/such/interpreter\n")
    everything = found(home, WITH_OPERATOR + "policies: {nobody.py: {timeout: 1s}}\n")
    assert everything["secrets"].grade is Grade.ERROR
    assert "securechange.key does not exist" in everything["secrets"].detail
    for key in ("store.url", "dispatch.work_directory"):
        assert everything[key].grade is Grade.ERROR
        assert "state is not a directory" in everything[key].detail
    assert everything["bad.sh"].grade is Grade.NOT_READY
    assert everything["notify.sh"].grade is Grade.OK
    assert everything["scripts"].grade is Grade.WARNING
    assert "nobody.py" in everything["scripts"].detail
    assert exit_code(list(everything.values())) == 78


def test_a_script_that_is_not_ready_is_not_an_error_of_the_settings(home: Path) -> None:
    add(home, "bad.sh", "#!/no/such/interpreter\n")
    assert exit_code(list(found(home).values())) == 1


def test_warnings_alone_are_well_enough(home: Path) -> None:
    (home / "scripts" / "notify.sh").unlink()
    everything = found(home, "")
    assert everything["tokens"].grade is Grade.WARNING
    assert everything["scripts"].grade is Grade.WARNING
    assert exit_code(list(everything.values())) == 0


def test_a_missing_scripts_directory_is_an_error(home: Path) -> None:
    everything = found(home, WITH_OPERATOR + "scripts: {directory: elsewhere}\n")
    assert everything["scripts"].grade is Grade.ERROR
    assert "does not exist" in everything["scripts"].detail


def test_a_database_that_is_a_directory_is_an_error(home: Path) -> None:
    (home / "state" / "mediator.db").mkdir(parents=True)
    assert "is not a file" in found(home)["store.url"].detail


def test_a_directory_that_cannot_be_written_is_an_error(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's answer is made up here: root, who may run these tests, may write everywhere."""
    state = home / "state"
    state.mkdir()
    real = os.access
    monkeypatch.setattr(os, "access", lambda p, *a, **k: Path(p) != state and real(p, *a, **k))
    assert "cannot be written" in found(home)["store.url"].detail


@pytest.mark.parametrize(
    ("http", "where"), [("{port: 81}", "port 81"), ("{port: 0}", "any free port")]
)
def test_it_says_what_serve_would_do(home: Path, http: str, where: str) -> None:
    sentence = intention(settings(home, f"http: {http}\n"))
    assert f"listens on 127.0.0.1, {where}" in sentence
    assert str(home / "scripts") in sentence
    assert str(home / "state" / "mediator.db") in sentence
