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


def found(mediator: Mediator, *names: str) -> list[tuple[str, str]]:
    """States and details."""
    items = json.loads(mediator.cli("check", "--json", *names).stdout)["items"]
    return [(item["state"], item["detail"]) for item in items]


def test_only_the_scripts_that_are_named_are_looked_at(tmp_path: Path) -> None:
    mediator = Mediator(tmp_path)
    mediator.script("bad.sh", "#!/no/such/interpreter\n")
    mediator.script("fine.py", "#!/usr/bin/env python3\nimport json\n")
    done = mediator.cli("check", "fine", "scripts/fine.py")
    assert done.returncode == 0, done.stderr
    assert "bad.sh" not in done.stdout
    assert "listens" not in done.stdout
    assert mediator.cli("check", "bad.sh").returncode == 1


def test_a_script_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = Mediator(tmp_path).cli("check", "fnie")
    assert done.returncode == 1
    assert "there is no script 'fnie'" in done.stderr


def test_a_syntax_error_is_told_with_its_line(tmp_path: Path) -> None:
    mediator = Mediator(tmp_path)
    ran = tmp_path / "ran"
    mediator.script("half.py", f"#!/usr/bin/env python3\nopen({str(ran)!r}, 'w')\nif True\n")
    mediator.script("half.sh", f"#!/bin/bash\ntouch {ran}\nif true; then\n")
    (python,) = found(mediator, "half.py")
    assert python == ("broken", "line 3: expected ':'.")
    (bash,) = found(mediator, "half.sh")
    assert bash[0] == "broken"
    assert "line" in bash[1]
    done = mediator.cli("check")
    assert done.returncode == 1
    assert "fail at every attempt" in done.stdout
    assert not ran.exists()


def test_imports_that_are_not_there_are_told_and_nothing_is_imported(tmp_path: Path) -> None:
    mediator = Mediator(tmp_path)
    ran = tmp_path / "ran"
    (mediator.scripts / "beside.py").write_text(f"open({str(ran)!r}, 'w')\n")
    mediator.script(
        "imports.py",
        "#!/usr/bin/env python3\n"
        "import json, beside, os.path\n"
        "import no_such_module.part\n"
        "from no_such_other import x\n"
        "try:\n    import perhaps_this\nexcept ImportError:\n    import perhaps_that\n",
    )
    said = found(mediator, "imports.py")
    assert [state for state, _ in said] == ["warning", "warning"]
    assert said[0][1].startswith("line 3 imports no_such_module, which ")
    assert 'write dependencies = ["no-such-module"] into' in said[0][1]
    assert said[1][1].startswith("line 4 imports no_such_other")
    assert mediator.cli("check").returncode == 0
    assert not ran.exists()


def test_a_script_that_says_itself_where_modules_are_is_believed(tmp_path: Path) -> None:
    mediator = Mediator(tmp_path)
    mediator.script(
        "own.py", "#!/usr/bin/env python3\nimport sys\nsys.path.insert(0, '/x')\nimport mine\n"
    )
    assert found(mediator, "own.py") == [("ok", "")]


def test_line_ends_of_windows_below_the_first_line_are_told(tmp_path: Path) -> None:
    mediator = Mediator(tmp_path)
    (mediator.scripts / "mixed.py").write_bytes(b"#!/usr/bin/env python3\nx = 1\r\n")
    (mediator.scripts / "mixed.py").chmod(0o755)
    ((state, detail),) = found(mediator, "mixed.py")
    assert state == "warning"
    assert "line 2 ends as in Windows" in detail
