"""`mediator send`: a person hands a ticket over as the shim would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import count

import pytest

from tests.support.mediator import Mediator

ECHO = """#!/usr/bin/env python3
# /// script
# [tool.mediator]
# kind = "validation"
# ///
import json, os, sys
told = {k: v for k, v in os.environ.items() if k.startswith("SCW_")}
sys.stdout.buffer.write(sys.stdin.buffer.read() + b"\\x00\\xff")
print(json.dumps([sys.argv[1:], told], sort_keys=True), file=sys.stderr)
sys.exit(3)
"""
KILLED = """#!/usr/bin/env python3
# /// script
# [tool.mediator]
# kind = "validation"
# ///
import os, signal
os.kill(os.getpid(), signal.SIGKILL)
"""
SLOW = """#!/usr/bin/env python3
# /// script
# [tool.mediator]
# kind = "validation"
# timeout = "200ms"
# ///
import signal
signal.pause()
"""
WAIT = "#!/usr/bin/env python3\nimport signal\nsignal.pause()\n"


_numbers = count(4711)


@pytest.fixture(scope="module")
def mediator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mediator]:
    made = Mediator(tmp_path_factory.mktemp("mediator"))
    made.script("echo.py", ECHO)
    made.script("killed.py", KILLED)
    made.script("slow.py", SLOW)
    made.script("wait.py", WAIT)
    made.script("fine.py", "#!/usr/bin/env python3\nprint('done')\n")
    made.script("bad.py", "#!/no/such/interpreter\n")
    with made:
        yield made


@pytest.fixture(autouse=True)
def ticket(mediator: Mediator) -> bytes:
    """ticket.xml: of each test its own, so that it is no duplicate of another test's."""
    text = f"<ticket_info><id>{next(_numbers)}</id></ticket_info>".encode()
    (mediator.home / "ticket.xml").write_bytes(text)
    return text


def send(mediator: Mediator, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "mediator", "send", *arguments],
        capture_output=True,
        check=False,
        cwd=mediator.home,
        timeout=120,
        env={**os.environ, "MEDIATOR_URL": mediator.url},
    )


def test_a_trigger_is_handed_over_once(mediator: Mediator) -> None:
    first = send(mediator, "fine", "--ticket", "ticket.xml")
    assert first.returncode == 0, first.stderr
    assert len(first.stdout.split()) == 1
    assert first.stderr == b""
    again = send(mediator, "fine", "--ticket", "ticket.xml")
    assert again.returncode == 0
    assert again.stdout == first.stdout
    assert b"a duplicate" in again.stderr
    other = json.loads(send(mediator, "fine", "--ticket", "ticket.xml", "--json", "--", "x").stdout)
    assert other["duplicate"] is False
    assert other["delivery"] != first.stdout.decode().strip()


def test_an_interactive_answer_is_passed_on_byte_for_byte(
    mediator: Mediator, ticket: bytes
) -> None:
    done = send(
        mediator, "echo", "--ticket", "ticket.xml", "--event", "ADVANCE",
        "--var", "SCW_A=x=y & z", "--", "--flag", "two words", "\udcff",
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stdout == ticket + b"\x00\xff"
    script_wrote, line = done.stderr.decode().splitlines()
    assert json.loads(script_wrote) == [
        ["--flag", "two words", "\udcff"],
        {"SCW_A": "x=y & z", "SCW_EVENT": "ADVANCE"},
    ]
    assert line.startswith("mediator: delivery ")
    assert line.endswith(", exit code 3")


def test_an_interactive_answer_as_json_has_the_same_exit_code(mediator: Mediator) -> None:
    done = send(mediator, "echo", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["attempts"][0]["exit_code"] == 3
    for more in ([], ["--json"]):
        assert send(mediator, "killed", *more).returncode == 137


def test_waiting_for_a_trigger_answers_as_the_script_does(mediator: Mediator) -> None:
    done = send(mediator, "fine", "--ticket", "ticket.xml", "--wait", "60")
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"done\n"


def test_waiting_in_vain_is_no_success_and_loses_nothing(mediator: Mediator) -> None:
    done = send(mediator, "wait", "--ticket", "ticket.xml", "--wait", "0")
    assert done.returncode == 75
    assert b"it has not ended within 0 s; it is kept" in done.stderr
    delivery_id = done.stdout.decode().strip()
    shown = mediator.cli("deliveries", "show", delivery_id, "--url", mediator.url)
    assert shown.returncode == 0, shown.stderr


def test_the_same_idempotency_key_is_the_same_delivery(mediator: Mediator) -> None:
    arguments = ("fine", "--ticket", "ticket.xml", "--idempotency-key", "mine")
    assert send(mediator, *arguments).stdout == send(mediator, *arguments).stdout
    changed = send(mediator, *arguments, "--", "other")
    assert changed.returncode == 65


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        pytest.param(["fine"], 65, "it is empty", id="no ticket"),
        pytest.param(["fien", "--ticket", "ticket.xml"], 1, "did you mean fine?", id="no script"),
        pytest.param(["bad", "--ticket", "ticket.xml"], 1, "is not ready", id="not ready"),
        pytest.param(["slow"], 1, "did not answer within", id="no answer in time"),
        pytest.param(["fine", "--ticket", "gone"], 1, "gone cannot be read", id="no such file"),
        pytest.param(["fine", "--key-id", "nobody"], 78, "no key nobody", id="unknown key"),
        pytest.param(
            ["fine", "--key-id", "securechange", "--key-file", "operator.token"],
            77,
            "securechange",
            id="wrong secret",
        ),
        pytest.param(["fine", "--key-file", "securechange.key"], 64, "--key-id", id="half a key"),
    ],
)
def test_a_refusal_is_one_sentence_and_an_exit_code(
    mediator: Mediator, arguments: list[str], code: int, said: str
) -> None:
    done = send(mediator, *arguments)
    assert done.returncode == code, done.stderr
    assert done.stdout == b""
    assert said in done.stderr.decode()
    assert b"Traceback" not in done.stderr
