from __future__ import annotations

from pathlib import Path

import pytest

from mediator.model.answers import problem_of_answer
from mediator.model.policy import ANSWERS, Kind


@pytest.mark.parametrize(
    ("sample", "kind"),
    [
        pytest.param("scripted_condition_true.xml", Kind.CONDITION, id="a condition that holds"),
        pytest.param("scripted_condition_false.xml", Kind.CONDITION, id="one that does not"),
        pytest.param(
            "dynamic_assignment_access_request_output.xml", Kind.ASSIGNMENT, id="an assignment"
        ),
        pytest.param(
            "dynamic_assignment_decommission_output.xml", Kind.ASSIGNMENT, id="a decommission"
        ),
        pytest.param("risk_analysis_output.xml", Kind.RISK_ANALYSIS, id="a risk analysis"),
    ],
)
def test_documented_answers_are_answers(samples: Path, sample: str, kind: Kind) -> None:
    assert problem_of_answer((samples / sample).read_bytes(), roots=ANSWERS[kind]) == ""


@pytest.mark.parametrize(
    ("stdout", "reason"),
    [
        pytest.param(b"", "it printed nothing, and <response> was expected", id="nothing"),
        pytest.param(b" \n", "it printed nothing, and <response> was expected", id="blanks"),
        pytest.param(
            b"<tasks/>", "it printed <tasks>, and <response> was expected", id="another root"
        ),
        pytest.param(
            b"true",
            "what it printed is not <response>: it does not start with a tag (line 1, column 1)",
            id="no XML",
        ),
        pytest.param(
            b"<response><condition_result>true",
            "what it printed is not <response>: it breaks off before its last tag"
            " (line 1, column 33)",
            id="broken off",
        ),
        pytest.param(
            b"<response><condition_result>yes</condition_result></response>",
            "its <response> has no <condition_result> that is true or false",
            id="neither true nor false",
        ),
        pytest.param(
            b"<response/>",
            "its <response> has no <condition_result> that is true or false",
            id="no result",
        ),
    ],
)
def test_anything_else_is_none_and_the_reason_is_said(stdout: bytes, reason: str) -> None:
    assert problem_of_answer(stdout, roots=("response",)) == reason


def test_the_reason_does_not_quote_what_was_printed() -> None:
    reason = problem_of_answer(b"<tasks>secret</tasks", roots=("tasks",))
    assert reason
    assert "secret" not in reason


def test_a_kind_without_an_answer_may_print_anything() -> None:
    assert problem_of_answer(b"done", roots=ANSWERS[Kind.PRE_ASSIGNMENT]) == ""


def test_a_blank_line_before_the_answer_is_no_mistake() -> None:
    assert problem_of_answer(b'\n<?xml version="1.0"?><tasks/>\n', roots=("tasks",)) == ""
