"""`mediator run`: one real attempt in the foreground."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.conditions import eventually_true
from tests.support.mediator import Mediator

TICKET = b"<ticket_info><id>4711</id><subject>x</subject></ticket_info>"
BYTES = bytes(range(256)) * 1000


@pytest.fixture
def mediator(tmp_path: Path) -> Mediator:
    """Never started, and without a secret: `run` needs neither."""
    made = Mediator(tmp_path)
    for name in ("securechange.key", "operator.token", "viewer.token"):
        (tmp_path / name).unlink()
    (tmp_path / "ticket.xml").write_bytes(TICKET)
    return made


def command(mediator: Mediator, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "mediator", "run", "--config", str(mediator.config), *arguments]


def run(
    mediator: Mediator, *arguments: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command(mediator, *arguments),
        input=stdin,
        capture_output=True,
        check=False,
        cwd=mediator.home,
        timeout=120,
        env={**os.environ, "A_SECRET": "hidden"},
    )


def python(body: str, policy: str = "") -> str:
    block = f"# /// script\n# [tool.mediator]\n# {policy}\n# ///\n" if policy else ""
    return f"#!{sys.executable}\n{block}import os, sys, time, signal\n{body}\n"


def test_the_script_gets_what_it_gets_in_production(mediator: Mediator) -> None:
    mediator.script(
        "tell.py",
        python(
            "import json; print(json.dumps({'in': sys.stdin.read(), 'argv': sys.argv[1:],"
            " 'env': dict(os.environ), 'files': os.listdir(), 'cwd': os.getcwd()}))",
            'env = { GREETING = "hello" }',
        ),
    )
    done = run(
        mediator, "tell", "--ticket", "ticket.xml", "--event", "ADVANCE",
        "--var", "SCW_WORKFLOW=Access: a=b", "--", "--flag", "two words",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["in"].encode() == TICKET
    assert told["argv"] == ["--flag", "two words"]
    assert told["files"] == []
    assert not Path(told["cwd"]).exists()
    environment = told["env"]
    assert environment["SCW_EVENT"] == "ADVANCE"
    assert environment["SCW_WORKFLOW"] == "Access: a=b"
    assert environment["GREETING"] == "hello"
    assert environment["MEDIATOR_TICKET_ID"] == "4711"
    assert environment["MEDIATOR_ATTEMPT"] == "1"
    assert "A_SECRET" not in environment
    assert not (mediator.home / "state").exists()


def test_both_streams_are_passed_on_byte_for_byte_whatever_the_limit(mediator: Mediator) -> None:
    mediator.script(
        "loud.py",
        python(
            "d = bytes(range(256)) * 1000\n"
            "sys.stdout.buffer.write(d); sys.stderr.buffer.write(d[::-1])",
            "limits = { output = 1000 }",
        ),
    )
    done = run(mediator, "loud", "--ticket", "-", stdin=TICKET)
    assert done.returncode == 0
    assert done.stdout == BYTES
    script_wrote, line = done.stderr[: len(BYTES)], done.stderr[len(BYTES) :].decode()
    assert script_wrote == BYTES[::-1]
    assert line.startswith("mediator: loud.py: ok, exit code 0, ")
    assert line.endswith("the mediator keeps 1000 bytes (limits.output)\n")


@pytest.mark.parametrize(
    ("code", "follows"),
    [
        pytest.param(3, "the mediator would try again at about", id="again"),
        pytest.param(65, "the mediator would give up", id="give up"),
    ],
)
def test_a_failure_has_the_scripts_exit_code_and_says_what_follows(
    mediator: Mediator, code: int, follows: str
) -> None:
    mediator.script("fail.py", python(f"sys.exit({code})"))
    done = run(mediator, "fail", "--ticket", "ticket.xml")
    assert done.returncode == code
    (line,) = done.stderr.decode().splitlines()
    assert f"failed, exit code {code}" in line
    assert follows in line


def test_a_signal_and_a_timeout_are_told_as_shells_tell_them(mediator: Mediator) -> None:
    mediator.script("killed.py", python("os.kill(os.getpid(), signal.SIGKILL)"))
    killed = run(mediator, "killed", "--ticket", "ticket.xml")
    assert killed.returncode == 137
    assert b"SIGKILL" in killed.stderr
    mediator.script("slow.py", python("time.sleep(600)", 'timeout = "200ms"'))
    slow = run(mediator, "slow", "--ticket", "ticket.xml")
    assert slow.returncode == 143
    assert b"timeout, exit code 143" in slow.stderr
    assert b"stopped after its timeout of 200ms" in slow.stderr


def test_an_interactive_script_needs_an_answer(mediator: Mediator) -> None:
    mediator.script("mute.py", python("", 'kind = "condition"'))
    done = run(mediator, "mute")
    assert done.returncode == 0
    assert b"SecureChange could not use the answer: it printed nothing" in done.stderr


def test_json_holds_everything_and_nothing_is_passed_on(mediator: Mediator) -> None:
    mediator.script("fail.py", python("print('out'); print('err', file=sys.stderr); sys.exit(3)"))
    done = run(mediator, "fail", "--ticket", "ticket.xml", "--json")
    assert done.returncode == 3
    assert done.stderr == b""
    document = json.loads(done.stdout)
    assert document["seconds"] > 0
    assert document["due"] is not None
    kept = ("script", "outcome", "exit_code", "stdout", "stderr", "state")
    assert {key: document[key] for key in kept} == {
        "script": "fail.py",
        "outcome": "failed",
        "exit_code": 3,
        "stdout": "out\n",
        "stderr": "err\n",
        "state": "pending",
    }


def test_a_script_is_found_by_its_path_too(mediator: Mediator) -> None:
    mediator.script("fine.py", python(""))
    assert run(mediator, "scripts/fine.py", "--ticket", "ticket.xml").returncode == 0
    elsewhere = mediator.home / "elsewhere"
    elsewhere.mkdir()
    done = run(mediator, "elsewhere/fine.py", "--ticket", "ticket.xml")
    assert done.returncode == 1
    assert b"there is no script 'elsewhere/fine.py'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        pytest.param(["fine"], 65, "it is empty", id="no ticket"),
        pytest.param(["fine", "--ticket", "-"], 65, "not a ticket", id="not XML"),
        pytest.param(["fine", "--ticket", "gone.xml"], 1, "gone.xml cannot be read", id="no file"),
        pytest.param(["fnie", "--ticket", "-"], 1, "did you mean fine?", id="no such script"),
        pytest.param(["bad", "--ticket", "-"], 1, "/no/such/interpreter", id="not ready"),
        pytest.param(["fine", "--event", "a b"], 65, "SCW_EVENT must be a word", id="no event"),
        pytest.param(["fine", "--var", "PATH=x"], 64, "SCW_NAME=VALUE", id="no variable"),
        pytest.param(
            ["fine", "--var", "SCW_EVENT=CLOSE"],
            65,
            "SCW_EVENT is there more than once",
            id="twice",
        ),
    ],
)
def test_what_intake_would_refuse_is_refused_and_nothing_is_run(
    mediator: Mediator, arguments: list[str], code: int, said: str
) -> None:
    ran = mediator.home / "ran"
    mediator.script("fine.py", python(f"open({str(ran)!r}, 'w')"))
    mediator.script("bad.py", "#!/no/such/interpreter\n")
    done = run(mediator, *arguments, stdin=b"this is no ticket")
    assert done.returncode == code
    assert done.stdout == b""
    assert said in done.stderr.decode()
    assert not ran.exists()


def test_a_ticket_that_is_too_large_is_refused(mediator: Mediator) -> None:
    mediator.configure({"http": {"body_limit": 20}})
    mediator.script("fine.py", python(""))
    done = run(mediator, "fine", "--ticket", "ticket.xml")
    assert done.returncode == 65
    assert b"larger than 20 bytes" in done.stderr


def test_the_test_button_is_taken_by_every_kind(mediator: Mediator) -> None:
    mediator.script("risk.py", python("print(os.environ['SCW_EVENT'])", 'roots = ["field_info"]'))
    done = run(mediator, "risk", "--event", "TEST", "--ticket", "-", stdin=b"<ticket_info/>")
    assert done.returncode == 0
    assert done.stdout == b"TEST\n"


def test_ctrl_c_lets_the_script_clean_up(mediator: Mediator) -> None:
    started, cleaned = mediator.home / "started", mediator.home / "cleaned"
    mediator.script(
        "long.py",
        python(
            f"clean = lambda *_: (open({str(cleaned)!r}, 'w'), sys.exit(0))\n"
            "signal.signal(signal.SIGTERM, clean)\n"
            f"print('half', flush=True); open({str(started)!r}, 'w')\n"
            "while True: signal.pause()"
        ),
    )
    process = _started(mediator, started)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert cleaned.exists()
    assert stdout == b"half\n"
    assert b"you stopped it" in stderr


def test_ctrl_c_twice_kills_a_script_that_does_not_listen(mediator: Mediator) -> None:
    mediator.configure({"dispatch": {"grace": "1h"}})
    started, asked = mediator.home / "started", mediator.home / "asked"
    mediator.script(
        "deaf.py",
        python(
            f"signal.signal(signal.SIGTERM, lambda *_: open({str(asked)!r}, 'w'))\n"
            f"open({str(started)!r}, 'w').write(str(os.getpid()))\n"
            "while True: signal.pause()"
        ),
    )
    process = _started(mediator, started)
    pid = int(eventually_true(started.read_text))
    process.send_signal(signal.SIGINT)
    eventually_true(asked.exists)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert not Path(f"/proc/{pid}").exists()


def _started(mediator: Mediator, mark: Path) -> subprocess.Popen[bytes]:
    name = next(path.stem for path in mediator.scripts.iterdir())
    process = subprocess.Popen(
        command(mediator, name, "--ticket", "ticket.xml"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=mediator.home,
    )
    eventually_true(mark.exists)
    return process


def test_what_the_script_writes_is_passed_on_while_it_runs(mediator: Mediator) -> None:
    gate = mediator.home / "gate"
    mediator.script(
        "steps.py",
        python(
            "print('first', flush=True)\n"
            f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
            "print('last')"
        ),
    )
    with subprocess.Popen(
        command(mediator, "steps", "--ticket", "ticket.xml"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=mediator.home,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"first\n"
        gate.touch()
        rest, _ = process.communicate(timeout=60)
    assert rest == b"last\n"
    assert process.returncode == 0


def test_a_script_whose_output_nobody_reads_any_more_is_stopped(mediator: Mediator) -> None:
    mediator.script("endless.py", python("while True: print('more', flush=True); time.sleep(0.01)"))
    with subprocess.Popen(
        command(mediator, "endless", "--ticket", "ticket.xml"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=mediator.home,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"more\n"
        process.stdout.close()
        assert process.wait(timeout=60) == 1
        assert process.stderr is not None
        assert process.stderr.read() == b""
