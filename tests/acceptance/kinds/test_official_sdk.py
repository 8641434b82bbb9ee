"""Scripts written with Tufin's SDK (pytos2-ce) run as they are, and every event fires what it does.

What is pinned here is the SDK's own behaviour, surprises included: the mediator hands it what
SecureChange would have. Only the first line of a script is an administrator's to choose; here it
names the environment that has the SDK.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.kinds.calls import ended
from tests.acceptance.kinds.pod import Pod
from tests.support.mediator import Mediator
from tests.support.securechange import STEPS, SecureChange, ticket

EVERY_DECORATOR = """
import json
import atexit
from pytos2.securechange import Scw
from pytos2.securechange.trigger import *

Scw()
fired = []
atexit.register(lambda: print(json.dumps(fired)))

@on_test()
def test(ticket): fired.append("on_test")

@on_create()
def create(ticket): fired.append("on_create")

@on_close()
def close(ticket): fired.append("on_close")

@on_cancel()
def cancel(ticket): fired.append("on_cancel")

@on_reject()
def reject(ticket): fired.append("on_reject")

@on_advance()
def advance(ticket): fired.append("on_advance")

@on_redo()
def redo(ticket): fired.append("on_redo")

@on_resubmit()
def resubmit(ticket): fired.append("on_resubmit")

@on_reopen()
def reopen(ticket): fired.append("on_reopen")

@on_automation_failure()
def automation_failure(ticket): fired.append("on_automation_failure")

@on_all()
def every(ticket): fired.append("on_all")

@on(CLOSE, REJECT)
def either(ticket): fired.append("on(CLOSE, REJECT)")

@on
def always(ticket): fired.append("on")
"""

NAMED_STEP = """
import json
from pytos2.securechange import Scw
from pytos2.securechange.trigger import *

Scw()

@on_advance(when=step_is("Technical design"))
def now_there(ticket): print("arrived")

@on_advance(when=step_is("Business approval"))
def was_there(ticket): print("left")

@on_advance(when=workflow_is("Access Request"))
def in_workflow(ticket): print("workflow")

@on_create(when=step_is("Technical design"))
def other_event(ticket): print("created")

@when(step_is("Technical design"), workflow_is("another"))
def whatever_event(ticket): print("any event")
"""

TICKET_OBJECT = """
from pytos2.securechange import Scw
from pytos2.securechange.trigger import *

Scw()

@on_advance(when=step_is("Technical design"))
def tell(ticket):
    reason = ticket.get_step("Open request").get_task("Default").get_field("Business reason")
    print(ticket.id, ticket.subject, ticket.requester, ticket.priority.value, ticket.workflow.name)
    print(ticket.previous_step.name, "->", ticket.current_step_name)
    print(reason.text)
    ticket.add_comment("Seen by the script")
"""

RAISES = """
from pytos2.securechange import Scw
from pytos2.securechange.trigger import *

Scw()

@on_close()
def fails(ticket): raise RuntimeError("the other system said no")
"""

LOGS_AND_RAISES = "import logging\nlogging.basicConfig()\n" + RAISES

CONDITION = """# /// script
# [tool.mediator]
# kind = "condition"
# ///
import sys
from pytos2.securechange import Scw

scw = Scw()
answer = "true"
if sys.argv[1] != "test":
    ticket = scw.get_ticket(int(sys.argv[1]))
    answer = str(ticket.current_step_name == "Technical design").lower()
print(f"<response><condition_result>{answer}</condition_result></response>")
"""

PRE_ASSIGNMENT = """
# /// script
# [tool.mediator]
# kind = "pre-assignment"
# ///
""" + EVERY_DECORATOR.lstrip()

OPEN, APPROVAL, DESIGN, IMPLEMENTATION = STEPS
AT_APPROVAL = ticket(OPEN, APPROVAL)
AT_DESIGN = ticket(OPEN, APPROVAL, DESIGN)
AT_IMPLEMENTATION = ticket(OPEN, APPROVAL, DESIGN, IMPLEMENTATION)


def over(status: str) -> dict[str, Any]:
    return ticket(OPEN, APPROVAL, DESIGN, IMPLEMENTATION, status=status)


DECORATORS = [
    "on_test",
    "on_create",
    "on_close",
    "on_cancel",
    "on_reject",
    "on_advance",
    "on_redo",
    "on_resubmit",
    "on_reopen",
    "on_automation_failure",
    "on_all",
    "on(CLOSE, REJECT)",
    "on",
]
"""All that `EVERY_DECORATOR` has, in its order."""

FIRES = {
    "CREATE": ("trigger_create", AT_APPROVAL, ["on_create", "on_all", "on"]),
    "ADVANCE": ("trigger_advance", AT_DESIGN, ["on_advance", "on_all", "on"]),
    "REDO": ("trigger_redo", AT_APPROVAL, ["on_redo", "on_all", "on"]),
    "REOPEN": ("trigger_reopen", AT_IMPLEMENTATION, ["on_reopen", "on_all", "on"]),
    "RESUBMIT": ("trigger_resubmit", ticket(OPEN, id=4712), ["on_resubmit", "on_all", "on"]),
    "AUTOMATION_FAILED": (
        "trigger_automation_failed",
        AT_DESIGN,
        ["on_automation_failure", "on_all", "on"],
    ),
    "CLOSE": (
        "trigger_close",
        over("Ticket Closed"),
        ["on_close", "on_all", "on(CLOSE, REJECT)", "on"],
    ),
    "REJECT": (
        "trigger_reject",
        over("Ticket Rejected"),
        ["on_reject", "on_all", "on(CLOSE, REJECT)", "on"],
    ),
    "CANCEL": ("trigger_cancel", over("Ticket Cancelled"), ["on_cancel", "on_all", "on"]),
    # The SDK does not know it, and takes an event it does not know for part of every decorator.
    "RESOLVE": ("trigger_resolve", over("Ticket Resolved"), DECORATORS),
}
"""By event: the ticket that is handed over, the ticket as it is by then, and what fires."""


@pytest.fixture(scope="module")
def securechange() -> Iterator[SecureChange]:
    with SecureChange() as running:
        yield running


@pytest.fixture(scope="module")
def mediator(
    tmp_path_factory: pytest.TempPathFactory, sdk: Path, securechange: SecureChange
) -> Iterator[Mediator]:
    """With all the scripts, and what the SDK needs in their environment."""
    given = dict(securechange.environment)
    secret = given.pop("SCW_API_PASSWORD")
    mediator = Mediator(
        tmp_path_factory.mktemp("mediator"),
        settings={
            "dispatch": {
                "env": given,
                "pass_env": ["SCW_API_PASSWORD"],
                "retry": {"attempts": 1},
                "deduplicate": "0s",
            },
            "policies": {
                "too_early.py": {"retry": {"attempts": 2, "first": "1ms"}},
                "wrong_password.py": {"env": {"SCW_API_PASSWORD": "guessed"}},
            },
        },
        environment={"SCW_API_PASSWORD": secret},
    )
    for name, text in {
        "decorators.py": EVERY_DECORATOR,
        "too_early.py": EVERY_DECORATOR,
        "named_step.py": NAMED_STEP,
        "ticket_object.py": TICKET_OBJECT,
        "raises.py": RAISES,
        "logs_and_raises.py": LOGS_AND_RAISES,
        "wrong_password.py": EVERY_DECORATOR,
        "condition.py": CONDITION,
        "pre_assignment.py": PRE_ASSIGNMENT,
    }.items():
        mediator.script(name, f"#!{sdk}\n{text}")
    with mediator:
        yield mediator


@pytest.mark.parametrize("event", FIRES)
async def test_an_event_fires_exactly_its_decorators(
    event: str, mediator: Mediator, pod: Pod, securechange: SecureChange, samples: Path
) -> None:
    sample, document, fires = FIRES[event]
    securechange.keep(document)
    shim = pod.call("decorators", stdin=_read(samples, sample), event=event)
    (attempt,) = await ended(mediator, shim)
    assert json.loads(attempt["stdout"]) == fires
    # Each decorator fetches the ticket anew.
    path = f"GET /tickets/{document['ticket']['id']}"
    assert securechange.requests == [path] * len(DECORATORS)


def test_the_test_button_fires_only_a_bare_on_and_asks_for_no_ticket(
    pod: Pod, securechange: SecureChange, samples: Path
) -> None:
    securechange.keep(AT_DESIGN)
    shim = pod.call("decorators", stdin=_read(samples, "trigger_test"), event="TEST")
    assert (shim.returncode, json.loads(shim.stdout), shim.stderr) == (0, ["on"], b"")
    assert securechange.requests == []


def test_a_pre_assignment_event_fires_every_decorator(
    pod: Pod, securechange: SecureChange, samples: Path
) -> None:
    securechange.keep(AT_DESIGN)
    ticket_info = _read(samples, "pre_assignment")
    shim = pod.call("pre_assignment", stdin=ticket_info, event="PRE_ASSIGNMENT_SCRIPT")
    assert (shim.returncode, json.loads(shim.stdout), shim.stderr) == (0, DECORATORS, b"")


async def test_a_named_step_is_the_one_the_ticket_is_in_now(
    mediator: Mediator, pod: Pod, securechange: SecureChange, samples: Path
) -> None:
    securechange.keep(AT_DESIGN)
    shim = pod.call("named_step", stdin=_read(samples, "trigger_advance"), event="ADVANCE")
    (attempt,) = await ended(mediator, shim)
    assert attempt["stdout"] == "arrived\nworkflow\nany event\n"


@pytest.mark.parametrize("event", ["CREATE", "ADVANCE"])
async def test_a_ticket_that_has_moved_on_fires_nothing_and_succeeds(
    event: str, mediator: Mediator, pod: Pod, securechange: SecureChange, samples: Path
) -> None:
    securechange.keep(AT_IMPLEMENTATION)
    shim = pod.call("decorators", stdin=_read(samples, f"trigger_{event.lower()}"), event=event)
    (attempt,) = await ended(mediator, shim)
    assert (attempt["exit_code"], attempt["stdout"], attempt["stderr"]) == (0, "[]\n", "")
    assert securechange.requests == ["GET /tickets/4711"]


async def test_a_ticket_read_before_it_has_moved_fails_and_is_tried_again(
    mediator: Mediator, pod: Pod, securechange: SecureChange, samples: Path
) -> None:
    securechange.keep(ticket(OPEN))
    shim = pod.call("too_early", stdin=_read(samples, "trigger_create"), event="CREATE")
    attempts = await ended(mediator, shim, state="dead")
    assert [attempt["exit_code"] for attempt in attempts] == [1, 1]
    assert "get_previous_stage" in attempts[-1]["stderr"]


async def test_a_ticket_object_has_its_fields_and_takes_a_comment(
    mediator: Mediator, pod: Pod, securechange: SecureChange, samples: Path
) -> None:
    securechange.keep(AT_DESIGN)
    shim = pod.call("ticket_object", stdin=_read(samples, "trigger_advance"), event="ADVANCE")
    (attempt,) = await ended(mediator, shim)
    assert attempt["stdout"] == (
        "4711 Open HTTPS from web tier to app tier Anna Meyer Normal Access Request\n"
        "Business approval -> Technical design\n"
        "The web shop moves\n"
    )
    assert securechange.comments == [{"comment": {"content": "Seen by the script"}}]
    assert securechange.requests[-1] == "POST /tickets/4711/steps/8803/tasks/9803/comments"


@pytest.mark.parametrize(
    ("script", "status"),
    [
        pytest.param("wrong_password", 401, id="wrong password"),
        pytest.param("decorators", 404, id="no ticket"),
    ],
)
async def test_a_refusal_of_securechange_fails_the_attempt_with_its_status(
    script: str,
    status: int,
    mediator: Mediator,
    pod: Pod,
    securechange: SecureChange,
    samples: Path,
) -> None:
    securechange.tickets.clear()
    shim = pod.call(script, stdin=_read(samples, "trigger_reject"), event="REJECT")
    (attempt,) = await ended(mediator, shim, state="dead")
    assert attempt["exit_code"] == 1
    assert f"HTTPError: {status} Client Error" in attempt["stderr"]


@pytest.mark.parametrize(
    ("script", "says"),
    [
        pytest.param("raises", "", id="and says nothing unless logging is set up"),
        pytest.param(
            "logs_and_raises", "RuntimeError: the other system said no", id="and says why"
        ),
    ],
)
async def test_a_function_that_raises_fails_the_attempt(
    script: str, says: str, mediator: Mediator, pod: Pod, securechange: SecureChange, samples: Path
) -> None:
    securechange.keep(over("Ticket Closed"))
    shim = pod.call(script, stdin=_read(samples, "trigger_close"), event="CLOSE")
    (attempt,) = await ended(mediator, shim, state="dead")
    assert attempt["exit_code"] == 1
    assert says in attempt["stderr"] if says else not attempt["stderr"]


@pytest.mark.parametrize(
    ("argument", "document", "answer"),
    [
        pytest.param("4711", AT_DESIGN, "true", id="true"),
        pytest.param("4711", AT_APPROVAL, "false", id="false"),
        pytest.param("test", AT_APPROVAL, "true", id="test"),
    ],
)
def test_a_condition_asks_securechange_while_securechange_waits_for_it(
    argument: str,
    document: dict[str, Any],
    answer: str,
    pod: Pod,
    securechange: SecureChange,
    samples: Path,
) -> None:
    securechange.keep(document)
    shim = pod.call("condition", argument, stdin=_read(samples, "scripted_condition_stdin"))
    expected = f"<response><condition_result>{answer}</condition_result></response>\n"
    assert (shim.returncode, shim.stdout, shim.stderr) == (0, expected.encode(), b"")


def _read(samples: Path, name: str) -> bytes:
    return (samples / f"{name}.xml").read_bytes()
