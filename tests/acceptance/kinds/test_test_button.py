"""The Test button of SecureChange tells its administrator the truth about a script."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mediator.model.answers import problem_of_answer
from mediator.model.policy import ANSWERS, Kind
from tests.support.mediator import Client, Mediator

BUTTON = b"<ticket_info/>"
CHECKED = """#!/bin/bash
# /// script
# [tool.mediator]
# kind = "{kind}"
# test = "check"
# ///
echo run > "{mark}"
"""


@pytest.fixture(scope="module")
def mediator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mediator]:
    made = Mediator(tmp_path_factory.mktemp("button"))
    for kind in Kind:
        text = CHECKED.format(kind=kind, mark=made.home / "mark")
        made.script(f"checked-{kind}", text)
    made.script("runs", "#!/bin/sh\necho its own result\nexit 4\n")
    made.script("broken", "#!/no/such/python\n")
    with made:
        yield made


def test_a_script_is_run_and_answers_for_itself(mediator: Mediator) -> None:
    done = mediator.shim("runs", stdin=BUTTON, event="TEST")
    assert (done.returncode, done.stdout) == (4, b"its own result\n")


def test_a_script_that_cannot_run_says_why(mediator: Mediator) -> None:
    done = mediator.shim("broken", stdin=BUTTON, event="TEST")
    assert done.returncode == 75
    assert b"/no/such/python" in done.stderr


def test_a_script_that_is_not_there_says_which_there_are(mediator: Mediator) -> None:
    done = mediator.shim("runz", stdin=BUTTON, event="TEST")
    assert done.returncode == 78
    assert b"did you mean runs?" in done.stderr


@pytest.mark.parametrize("kind", Kind)
async def test_by_policy_a_script_is_only_checked(mediator: Mediator, kind: Kind) -> None:
    done = mediator.shim(f"checked-{kind}", stdin=BUTTON, event="TEST")
    assert done.returncode == 0
    said = done.stderr if kind.interactive else done.stdout
    assert f"checked-{kind} is ready: kind {kind}".encode() in said
    assert problem_of_answer(done.stdout, roots=ANSWERS[kind]) == ""
    assert not (mediator.home / "mark").exists()
    async with Client(mediator.url) as client:
        listed = await client.get(f"/v1/deliveries?script=checked-{kind}")
    assert listed.json()["items"] == []


@pytest.mark.parametrize("kind", [Kind.CONDITION, Kind.ASSIGNMENT])
def test_the_word_test_is_a_test_for_kinds_called_by_argument(
    mediator: Mediator, kind: Kind
) -> None:
    done = mediator.shim(f"checked-{kind}", "test", stdin=b"", event="")
    assert done.returncode == 0
    assert b"It was checked, not run" in done.stderr


def test_for_a_trigger_the_word_test_is_an_argument(mediator: Mediator) -> None:
    ticket = b"<ticket_info><id>1</id></ticket_info>"
    done = mediator.shim("checked-trigger", "test", stdin=ticket, event="CREATE")
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"accepted as delivery" in done.stderr
