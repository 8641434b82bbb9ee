"""`mediator check`, as a process."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.mediator import Mediator


def test_all_is_well_and_it_says_what_serve_would_do(tmp_path: Path) -> None:
    mediator = Mediator(tmp_path)
    mediator.script("notify.sh", "#!/bin/sh\n")
    done = mediator.cli("check")
    assert done.returncode == 0, done.stderr
    assert "notify.sh" in done.stdout
    assert "mediator serve listens on 127.0.0.1" in done.stdout


def test_a_script_that_is_not_ready_is_exit_code_1(tmp_path: Path) -> None:
    mediator = Mediator(tmp_path)
    mediator.script("bad.sh", "#!/no/such/interpreter\n")
    done = mediator.cli("check", "--json")
    assert done.returncode == 1
    document = json.loads(done.stdout)
    (bad,) = (item for item in document["items"] if item["what"] == "bad.sh")
    assert bad["state"] == "not ready"
    assert "/no/such/interpreter" in bad["detail"]
    assert document["ok"] is False
    assert "409" in document["conclusion"]


def test_what_would_stop_serve_is_exit_code_78_and_hides_no_script(tmp_path: Path) -> None:
    mediator = Mediator(tmp_path)
    mediator.script("bad.sh", "#!/no/such/interpreter\n")
    (tmp_path / "securechange.key").chmod(0o644)
    (tmp_path / "operator.token").write_text("short\n")
    done = mediator.cli("check")
    assert done.returncode == 78
    for part in ("securechange.key", "operator.token", "/no/such/interpreter", "would not start"):
        assert part in done.stdout
