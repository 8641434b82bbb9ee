"""What `mediator run` says would happen is what happens in a mediator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from tests.support.conditions import eventually
from tests.support.mediator import Client, Handover, Mediator

TICKET = b"<ticket_info><id>7</id></ticket_info>"
TRUE = "<response><condition_result>true</condition_result></response>"


def script(body: str, *policy: str) -> str:
    lines = "".join(f"# {line}\n" for line in policy)
    return f"#!/bin/sh\n# /// script\n# [tool.mediator]\n{lines}# ///\n{body}\n"


CONDITION = 'kind = "condition"'
SCRIPTS = {
    "fine": script("true"),
    "fails": script("exit 3", "retry = { attempts = 2, first = '1h' }"),
    "gives-up": script("exit 65"),
    "late": script("exec sleep 600", 'timeout = "200ms"', "retry = { attempts = 1 }"),
    "answers": script(f"echo '{TRUE}'", CONDITION),
    "mute": script("true", CONDITION),
    "wordy": script(f"echo '{TRUE}'", CONDITION, "limits = { output = 9 }"),
    "broken": script("exit 4", CONDITION),
    "risk": script("echo here", 'kind = "risk-analysis"', 'roots = ["field_info"]', "answer = []"),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A hand-over, made in both ways."""

    script: str
    event: str = "CREATE"
    body: bytes = TICKET


ENDED = [
    *(Case(script=name) for name in SCRIPTS if name != "risk"),
    Case(script="risk", event="TEST", body=b"<ticket_info/>"),
]
REFUSED = [
    Case(script="risk"),
    Case(script="fine", body=b""),
    Case(script="fine", body=b"no ticket"),
    Case(script="fine", body=b"<ticket_info>" + b" " * 5000 + b"</ticket_info>"),
]


@pytest.fixture(scope="module")
def mediator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mediator]:
    made = Mediator(tmp_path_factory.mktemp("both"), settings={"http": {"body_limit": "4KiB"}})
    for name, text in SCRIPTS.items():
        made.script(f"{name}.sh", text)
    with made:
        yield made


def run(mediator: Mediator, case: Case, *options: str) -> Any:
    """What the command says, in its own words when it refuses."""
    arguments = ("--event", case.event, "--ticket", "-")
    return mediator.cli("run", case.script, *arguments, *options, stdin=case.body.decode())


def _ended(delivery: dict[str, Any]) -> list[dict[str, Any]]:
    return [attempt for attempt in delivery["attempts"] if attempt["outcome"] is not None]


@pytest.mark.parametrize("case", ENDED, ids=lambda case: f"{case.script} {case.event}")
async def test_an_attempt_ends_and_is_judged_alike(mediator: Mediator, case: Case) -> None:
    said = json.loads(run(mediator, case, "--json").stdout)
    async with Client(mediator.url) as client:
        await client.until_scripts(f"{case.script}.sh")
        answer = await client.hand_over(Handover(**vars(case)))
        kept = await eventually(
            partial(client.delivery, answer.delivery), until=lambda found: bool(_ended(found))
        )
    (attempt,) = _ended(kept)
    both = ("outcome", "exit_code", "signal", "reason")
    assert {key: said[key] for key in both} == {key: attempt[key] for key in both}
    assert said["state"] == kept["state"]
    assert (said["due"] is None) == (kept["due"] is None)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case.script} {len(case.body)}")
async def test_a_ticket_is_refused_in_the_same_words(mediator: Mediator, case: Case) -> None:
    said = run(mediator, case)
    async with Client(mediator.url) as client:
        await client.until_scripts(f"{case.script}.sh")
        answer = await client.hand_over(Handover(**vars(case)))
    assert said.returncode == 65
    assert said.stderr == f"mediator: {answer.detail}\n"
