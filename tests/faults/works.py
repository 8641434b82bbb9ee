"""The scripts of the load. Each tells what it does in a file of effects, one write a line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.faults.history import Work
from tests.support.mediator import Mediator

WORKS = (
    Work(name="quick.sh"),
    Work(name="warm.py", warm=True),
    Work(name="third-time.py", fails=2, warm=True),
    Work(name="hopeless.sh", fails=99, attempts=3),
    Work(name="slow.sh", seconds=1.5),
    Work(name="slow-warm.py", seconds=1.5, warm=True),
    Work(name="ordered.sh", ordered=True),
    Work(name="ordered-again.py", ordered=True, fails=1, warm=True),
    Work(name="ask.sh", interactive=True),
    Work(name="ask-warm.py", interactive=True, warm=True),
)
BY_NAME = {work.name: work for work in WORKS}
TRIGGERS = tuple(work for work in WORKS if not work.interactive)
INTERACTIVE = tuple(work for work in WORKS if work.interactive)
_SHELL = """#!/bin/sh
sum=$(sha256sum) sum=${{sum%% *}}
note() {{
    line="$1 $MEDIATOR_DELIVERY_ID $MEDIATOR_ATTEMPT $sum"
    check=$(printf '%s' "$line" | sha256sum)
    printf '%s %s\\n' "$line" "${{check%% *}}" >>{effects}
}}
note begin
sleep {seconds}
note end
printf 'answer to %s\\n' "$1"
[ "$MEDIATOR_ATTEMPT" -gt {fails} ]
"""
_PYTHON = """#!/usr/bin/env python3
import hashlib, os, sys, time
delivery, attempt = os.environ["MEDIATOR_DELIVERY_ID"], os.environ["MEDIATOR_ATTEMPT"]
sum = hashlib.sha256(sys.stdin.buffer.read()).hexdigest()
def note(word):
    line = f"{{word}} {{delivery}} {{attempt}} {{sum}}"
    check = hashlib.sha256(line.encode()).hexdigest()
    file = os.open({effects!r}, os.O_WRONLY | os.O_APPEND)
    os.write(file, f"{{line}} {{check}}\\n".encode())
    os.close(file)
note("begin")
time.sleep({seconds})
note("end")
print("answer to", sys.argv[1])
sys.exit(int(attempt) <= {fails})
"""


def install(works: Iterable[Work], mediator: Mediator, effects: Path) -> None:
    """Put the scripts into a mediator's directory."""
    for work in works:
        text = _PYTHON if work.name.endswith(".py") else _SHELL
        values = {"effects": str(effects), "seconds": work.seconds, "fails": work.fails}
        mediator.script(work.name, text.format(**values))


def policies(works: Iterable[Work]) -> dict[str, Any]:
    """The section `policies` of the settings."""
    return {work.name: _policy(work) for work in works}


def _policy(work: Work) -> dict[str, Any]:
    policy: dict[str, Any] = {"runner": "warm" if work.warm else "process", "timeout": "30s"}
    if work.interactive:
        return {**policy, "kind": "condition", "answer": []}
    retry = {"attempts": work.attempts, "first": "200ms", "longest": "500ms"}
    return {**policy, "retry": retry, "order": "ticket" if work.ordered else "none"}
