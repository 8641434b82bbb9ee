"""What SecureChange hears when an interactive script gives no answer it could use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.mediator import Client, Handover, Mediator

TRUE = b"<response><condition_result>true</condition_result></response>"
FALSE = b"<response><condition_result>false</condition_result></response>"
TASKS = b"<tasks><task><name>default</name></task></tasks>"
TICKET = b"<ticket_info><id>7</id></ticket_info>"


def script(kind: str, body: str, policy: str = "") -> str:
    return f"""#!/bin/bash
# /// script
# [tool.mediator]
# kind = "{kind}"
# {policy}
# ///
{body}
"""


FALLBACK = 'fallback = { on = ["timeout", "error"], stdout_file = "false.xml" }'
SCRIPTS = {
    "right": script("condition", f"echo '{TRUE.decode()}'"),
    "wrong": script("condition", "echo '<tasks/>'"),
    "text": script("condition", "echo yes"),
    "empty": script("condition", "true"),
    "cut": script("condition", "head -c 9000 /dev/zero | tr '\\0' x", "limits = { output = 4096 }"),
    "anything": script("condition", "echo yes", "answer = []"),
    "late": script("condition", "exec sleep 600", 'timeout = "1s"'),
    "fails": script("condition", f"echo '{TRUE.decode()}'; echo broken >&2; exit 3"),
    "killed": script("condition", "kill -KILL $$"),
    "wrong-but": script("condition", "echo '<tasks/>'", FALLBACK),
    "late-but": script("condition", "exec sleep 600", f'timeout = "1s"\n# {FALLBACK}'),
    "fails-but": script("condition", "exit 3", FALLBACK),
    "killed-but": script("condition", "kill -KILL $$", FALLBACK),
    "right-but": script("condition", f"echo '{TRUE.decode()}'", FALLBACK),
    "late-only": script(
        "condition",
        "exit 3",
        'fallback = { on = ["timeout"], stdout_file = "false.xml" }',
    ),
    "wrong-late-only": script(
        "condition",
        "echo '<tasks/>'",
        'fallback = { on = ["timeout"], stdout_file = "false.xml" }',
    ),
    "late-error-only": script(
        "condition",
        "exec sleep 600",
        'timeout = "1s"\n# fallback = { on = ["error"], stdout_file = "false.xml" }',
    ),
    "no-file": script("condition", "true", FALLBACK.replace("false.xml", "none.xml")),
    "bad-file": script("condition", "true", FALLBACK.replace("false.xml", "tasks.xml")),
    "trigger-but": script("trigger", "true", FALLBACK),
    "risk": script("risk-analysis", "echo '<external_risk_analysis_result/>'"),
    "tasks": script("assignment", f"echo '{TASKS.decode()}'"),
    "validation": script("validation", "echo 'nobody reads this'"),
}


@pytest.fixture(scope="module")
def mediator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mediator]:
    made = Mediator(tmp_path_factory.mktemp("answers"))
    (made.scripts / "false.xml").write_bytes(FALSE)
    (made.scripts / "tasks.xml").write_bytes(TASKS)
    for name, text in SCRIPTS.items():
        made.script(name, text)
    with made:
        yield made


@pytest.mark.parametrize(
    ("name", "stdout"),
    [
        pytest.param("right", TRUE, id="a condition"),
        pytest.param("tasks", TASKS, id="an assignment"),
        pytest.param("risk", b"<external_risk_analysis_result/>", id="a risk analysis"),
        pytest.param("validation", b"nobody reads this", id="a kind without an answer"),
        pytest.param("anything", b"yes", id="where the policy takes any output"),
        pytest.param("right-but", TRUE, id="with a fallback that is not needed"),
    ],
)
def test_a_right_answer_comes_back(mediator: Mediator, name: str, stdout: bytes) -> None:
    roots = b"<field_info/>" if name == "risk" else TICKET
    done = mediator.shim(name, "7", stdin=roots)
    assert (done.returncode, done.stdout) == (0, stdout + b"\n"), done.stderr


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param(
            "wrong", "it printed <tasks>, and <response> was expected", id="another document"
        ),
        pytest.param("text", "what it printed is not <response>", id="text"),
        pytest.param("empty", "it printed nothing, and <response> was expected", id="nothing"),
        pytest.param("cut", "more than limits.output of its policy allows", id="too much"),
    ],
)
def test_a_wrong_answer_is_an_error_that_names_script_and_reason(
    mediator: Mediator, name: str, reason: str
) -> None:
    done = mediator.shim(name, "7", stdin=TICKET)
    assert (done.returncode, done.stdout) == (70, b"")
    line = done.stderr.decode()
    assert f"The script {name} gave no answer: " in line
    assert reason in line
    assert line.count("\n") == 1


def test_a_late_answer_is_an_error(mediator: Mediator) -> None:
    done = mediator.shim("late", "7", stdin=TICKET)
    assert (done.returncode, done.stdout) == (75, b"")
    assert b"The script late did not answer" in done.stderr


def test_without_a_fallback_an_exit_code_is_securechanges_to_judge(mediator: Mediator) -> None:
    done = mediator.shim("fails", "7", stdin=TICKET)
    assert (done.returncode, done.stdout, done.stderr) == (3, TRUE + b"\n", b"broken\n")


@pytest.mark.parametrize("name", ["wrong-but", "late-but", "fails-but", "killed-but"])
def test_a_fallback_is_answered_instead(mediator: Mediator, name: str) -> None:
    done = mediator.shim(name, "7", stdin=TICKET)
    assert (done.returncode, done.stdout, done.stderr) == (0, FALSE, b"")


async def test_a_fallback_is_told_logged_and_counted(mediator: Mediator) -> None:
    async with Client(mediator.url) as client:
        answer = await client.hand_over(Handover(script="wrong-but", body=TICKET))
        page = (await client.get("/metrics", token=None)).body.decode()
        delivery = await client.delivery(answer.delivery)
    assert answer.status == 200
    assert answer.headers["Mediator-Fallback"] == "error"
    assert 'mediator_fallbacks_total{script="wrong-but",trouble="error"}' in page
    assert 'outcome="bad_answer",script="wrong-but"' in page
    (line,) = [
        line
        for line in mediator.events("fallback answered")
        if line["delivery_id"] == answer.delivery
    ]
    assert "it printed <tasks>" in line["reason"]
    assert delivery["state"] == "dead"
    assert delivery["attempts"][0]["outcome"] == "bad_answer"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        pytest.param("late-only", 3, id="an exit code, where it is for time-outs alone"),
        pytest.param("wrong-late-only", 70, id="a wrong answer, where it is for time-outs alone"),
        pytest.param("late-error-only", 75, id="a time-out, where it is for errors alone"),
    ],
)
def test_a_fallback_does_not_hide_what_it_is_not_for(
    mediator: Mediator, name: str, code: int
) -> None:
    done = mediator.shim(name, "7", stdin=TICKET)
    assert (done.returncode, done.stdout) == (code, b"")


@pytest.mark.parametrize("test", ["the button", "the word"])
@pytest.mark.parametrize(("name", "code"), [("fails-but", 3), ("wrong-but", 70), ("late-but", 75)])
def test_a_test_hears_the_truth_and_no_fallback(
    mediator: Mediator, name: str, code: int, test: str
) -> None:
    if test == "the button":
        done = mediator.shim(name, stdin=b"<ticket_info/>", event="TEST")
    else:
        done = mediator.shim(name, "test", stdin=b"", event="")
    assert (done.returncode, done.stdout) == (code, b"")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param(
            "no-file", "its fallback none.xml is not in the scripts directory", id="no file"
        ),
        pytest.param(
            "bad-file",
            "its fallback tasks.xml is no answer: it printed <tasks>, and <response> was expected",
            id="no answer",
        ),
        pytest.param(
            "trigger-but", "has a fallback, which only interactive kinds can use", id="a trigger"
        ),
    ],
)
def test_a_fallback_that_cannot_help_is_told_before_it_is_needed(
    mediator: Mediator, name: str, reason: str
) -> None:
    done = mediator.shim(name, "7", stdin=TICKET)
    assert done.returncode == 75
    assert reason in done.stderr.decode()


async def test_a_failure_is_not_run_again_by_sending_it_again(mediator: Mediator) -> None:
    handover = Handover(script="wrong", body=TICKET, idempotency_key="the-same")
    async with Client(mediator.url) as client:
        answers = [await client.hand_over(handover) for _ in range(2)]
        delivery = await client.delivery(answers[0].delivery)
    assert [answer.status for answer in answers] == [502, 502]
    assert answers[0].delivery == answers[1].delivery
    assert len(delivery["attempts"]) == 1


async def test_an_interactive_call_is_not_kept_waiting_by_triggers(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"dispatch": {"slots": 1, "interactive_slots": 1}}
    made = Mediator(tmp_path, settings)
    made.script("slow", "#!/bin/sh\nexec sleep 600\n")
    made.script("quick", SCRIPTS["right"])
    with made:
        async with Client(made.url) as client:
            for number in range(20):
                body = b"<ticket_info><id>%d</id></ticket_info>" % number
                assert (await client.hand_over(Handover(script="slow", body=body))).status == 202
            answer = await client.hand_over(Handover(script="quick", body=TICKET))
    assert (answer.status, answer.body) == (200, TRUE + b"\n")


async def test_a_deadline_can_be_stated_per_kind(tmp_path: Path) -> None:
    made = Mediator(tmp_path, {"dispatch": {"kind_timeouts": {"condition": "1s"}}})
    made.script("late", script("condition", "exec sleep 600"))
    made.script("patient", script("validation", "echo done"))
    with made:
        async with Client(made.url) as client:
            late = await client.hand_over(Handover(script="late", body=TICKET))
            timeouts = {
                name: (await client.get(f"/v1/scripts/{name}")).json()["policy"]["timeout"]
                for name in ("late", "patient")
            }
    assert late.status == 504
    assert timeouts == {"late": "1s", "patient": "30s"}
