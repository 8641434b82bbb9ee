"""Every kind of script, from SecureChange's call to its answer, through the real shim.

What SecureChange sends and wants is in docs/reference/securechange.md. Answers that are wrong,
empty or late are the business of test_answers.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

import pytest

from mediator.model.policy import Kind
from tests.acceptance.kinds.calls import ended
from tests.acceptance.kinds.pod import Form, Pod
from tests.support.mediator import REPOSITORY, Mediator

Shim = subprocess.CompletedProcess[bytes]

WITNESS = """#!{python} -IS
# /// script
# [tool.mediator]
# kind = {kind}
# ///
import json, os, sys
ticket = sys.stdin.buffer.read()
sys.stdout.buffer.write({answer!r})
seen = {{
    "stdin": ticket.decode("latin-1"),
    "arguments": sys.argv[1:],
    "variables": {{key: value for key, value in os.environ.items() if key.startswith("SCW_")}},
}}
print(json.dumps(seen), file=sys.stderr)
sys.exit({code})
"""
"""Answers on stdout, and tells on stderr what it was called with."""


def sample(name: str) -> bytes:
    """A document of SecureChange's; no name: nothing."""
    return (REPOSITORY / "tests" / "samples" / f"{name}.xml").read_bytes() if name else b""


EVERY_BYTE = bytes(range(256)) + b"\r\n no line end"


@dataclass(frozen=True)
class Case:
    """A kind, what SecureChange calls it with, and what the script answers."""

    kind: Kind
    sample: str
    """what comes on stdin; empty: nothing"""
    answer: str
    """a sample; empty: SecureChange reads nothing, and so any bytes will do"""
    arguments: tuple[str, ...] = ()
    event: str | None = None

    @property
    def script(self) -> str:
        """The name of the script that answers so."""
        return f"{self.kind}-{self.answer or 'free'}"

    @property
    def stdin(self) -> bytes:
        """What SecureChange sends."""
        return sample(self.sample)

    @property
    def stdout(self) -> bytes:
        """What the script answers."""
        return sample(self.answer) if self.answer else EVERY_BYTE

    def witness(self, code: int = 0, *, kind: str = "") -> str:
        """The script, ending with this exit code."""
        kind = kind or f'"{self.kind}"'
        return WITNESS.format(python=sys.executable, kind=kind, answer=self.stdout, code=code)

    def call(self, pod: Pod, script: str = "", form: Form = Form.WRAPPER) -> Shim:
        """Call the script, or another, as SecureChange does."""
        name = script or self.script
        return pod.call(name, *self.arguments, stdin=self.stdin, event=self.event, form=form)


CASES = {
    "pre-assignment": Case(
        Kind.PRE_ASSIGNMENT, "pre_assignment", answer="", event="PRE_ASSIGNMENT_SCRIPT"
    ),
    "condition that is true": Case(
        Kind.CONDITION,
        "scripted_condition_stdin",
        answer="scripted_condition_true",
        arguments=("4711",),
    ),
    "condition that is false": Case(
        Kind.CONDITION,
        "scripted_condition_stdin",
        answer="scripted_condition_false",
        arguments=("4711",),
    ),
    "assignment of access requests": Case(
        Kind.ASSIGNMENT,
        "",
        answer="dynamic_assignment_access_request_output",
        arguments=("4711",),
    ),
    "assignment of access requests by id": Case(
        Kind.ASSIGNMENT,
        "",
        answer="dynamic_assignment_access_request_by_id_output",
        arguments=("4711",),
    ),
    "assignment of rule modifications": Case(
        Kind.ASSIGNMENT,
        "",
        answer="dynamic_assignment_rule_modification_output",
        arguments=("4711",),
    ),
    "assignment of decommissionings": Case(
        Kind.ASSIGNMENT,
        "decommission_assignment_input",
        answer="dynamic_assignment_decommission_output",
    ),
    "risk analysis": Case(Kind.RISK_ANALYSIS, "risk_analysis_input", answer="risk_analysis_output"),
    "validation with a document": Case(Kind.VALIDATION, "risk_analysis_input", answer=""),
    "validation without": Case(Kind.VALIDATION, "", answer=""),
}
INTERACTIVE = {kind: case for case in CASES.values() for kind in [case.kind]}
"""One case of each kind that is answered."""
TRIGGER = Case(
    Kind.TRIGGER,
    "trigger_advance",
    answer="",
    arguments=("--workflow 'Access Request' --verbose",),
    event="ADVANCE",
)
BY_KIND = {Kind.TRIGGER: TRIGGER, **INTERACTIVE}


TRUE = sample("scripted_condition_true").decode()
EXIT_CODES = (1, 75, 255)
TWO_ATTEMPTS = '"trigger"\n# retry = { attempts = 2, first = "1ms" }'
SCRIPTS = {
    **{f"{case.script}.py": case.witness() for case in (TRIGGER, *CASES.values())},
    **{
        f"{kind}-fails-{code}.py": case.witness(code)
        for kind, case in INTERACTIVE.items()
        for code in EXIT_CODES
    },
    "trigger-fails.py": TRIGGER.witness(7, kind=TWO_ATTEMPTS),
    "legacy.sh": "#!/bin/bash\nread -r ticket\nprintf '%s' \"${#ticket}\"\n",
    "untouched.pl": f"#!/usr/bin/perl\nprint '{TRUE}';\n",
    "untouched.pl.toml": 'kind = "condition"\n',
}


@pytest.mark.parametrize("name", CASES)
def test_a_script_gets_what_securechange_sends_and_its_answer_comes_back(
    name: str, pod: Pod
) -> None:
    case = CASES[name]
    shim = case.call(pod)
    assert (shim.returncode, shim.stdout) == (0, case.stdout)
    assert json.loads(shim.stderr) == {
        "stdin": case.stdin.decode("latin-1"),
        "arguments": list(case.arguments),
        "variables": {} if case.event is None else {"SCW_EVENT": case.event},
    }


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("kind", INTERACTIVE)
def test_each_form_of_the_shim_serves_each_kind(kind: Kind, form: Form, pod: Pod) -> None:
    case = INTERACTIVE[kind]
    shim = case.call(pod, form=form)
    assert (shim.returncode, shim.stdout) == (0, case.stdout)
    assert json.loads(shim.stderr)["arguments"] == list(case.arguments)


@pytest.mark.parametrize("code", EXIT_CODES)
@pytest.mark.parametrize("kind", INTERACTIVE)
def test_an_exit_code_other_than_zero_passes_through_with_all_that_was_printed(
    kind: Kind, code: int, pod: Pod
) -> None:
    case = INTERACTIVE[kind]
    shim = case.call(pod, f"{kind}-fails-{code}")
    assert (shim.returncode, shim.stdout) == (code, case.stdout)
    assert json.loads(shim.stderr)["arguments"] == list(case.arguments)


@pytest.mark.parametrize("kind", BY_KIND)
def test_the_test_button_runs_a_script_of_each_kind_and_shows_its_answer(
    kind: Kind, pod: Pod
) -> None:
    case = BY_KIND[kind]
    shim = pod.call(case.script, stdin=sample("trigger_test"), event="TEST")
    assert (shim.returncode, shim.stdout) == (0, case.stdout)
    assert json.loads(shim.stderr) == {
        "stdin": "<ticket_info/>",
        "arguments": [],
        "variables": {"SCW_EVENT": "TEST"},
    }


@pytest.mark.parametrize("stdin", ["", "trigger_test"], ids=["no stdin", "an empty ticket"])
@pytest.mark.parametrize("kind", [Kind.CONDITION, Kind.ASSIGNMENT])
def test_the_word_test_instead_of_a_ticket_id_reaches_the_script(
    kind: Kind, stdin: str, pod: Pod
) -> None:
    case = INTERACTIVE[kind]
    shim = pod.call(case.script, "test", stdin=sample(stdin))
    assert (shim.returncode, shim.stdout) == (0, case.stdout)
    assert json.loads(shim.stderr)["arguments"] == ["test"]


@pytest.mark.parametrize("form", Form)
async def test_a_trigger_is_accepted_at_once_and_gets_what_securechange_sends(
    form: Form, mediator: Mediator, pod: Pod
) -> None:
    (attempt,) = await ended(mediator, TRIGGER.call(pod, form=form))
    assert attempt["exit_code"] == 0
    assert json.loads(attempt["stderr"]) == {
        "stdin": TRIGGER.stdin.decode("latin-1"),
        "arguments": list(TRIGGER.arguments),
        "variables": {"SCW_EVENT": "ADVANCE"},
    }


async def test_the_exit_code_of_a_trigger_is_the_business_of_its_policy_and_not_of_securechange(
    mediator: Mediator, pod: Pod
) -> None:
    attempts = await ended(mediator, TRIGGER.call(pod, "trigger-fails"), state="dead")
    assert [attempt["exit_code"] for attempt in attempts] == [7, 7]


async def test_a_script_that_states_no_kind_is_a_trigger(mediator: Mediator, pod: Pod) -> None:
    (attempt,) = await ended(mediator, TRIGGER.call(pod, "legacy"))
    assert attempt["stdout"] == str(len(TRIGGER.stdin))


def test_the_kind_of_a_script_that_must_not_change_is_stated_beside_it(pod: Pod) -> None:
    shim = pod.call("untouched", "4711", stdin=b"")
    assert (shim.returncode, shim.stdout.decode(), shim.stderr) == (0, TRUE, b"")


def test_there_is_a_case_for_every_kind() -> None:
    assert set(BY_KIND) == set(Kind)
