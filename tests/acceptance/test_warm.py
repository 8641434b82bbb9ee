"""Warm scripts through the whole mediator: forks of a Python that has their modules imported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.conditions import eventually
from tests.support.mediator import Client, Handover, Mediator

MODULE = """
import os, sys
stdin, imported_by = sys.stdin, os.getpid()
"""
"""Binds stdin when it is imported, as Tufin's SDK does."""
SCRIPT = """#!/usr/bin/env python3
# /// script
# [tool.mediator]
# kind = "condition"
# answer = []
# runner = "warm"
# preload = ["sdk"]
# ///
import json, os, sdk, sys
told = {"ticket": sdk.stdin.read(), "arguments": sys.argv[1:], "event": os.environ["SCW_EVENT"],
        "forked": sdk.imported_by != os.getpid()}
sys.exit(json.dumps(told))
"""
TICKET = "<ticket_info><id>1</id></ticket_info>"


def with_script(home: Path, module: str) -> Mediator:
    mediator = Mediator(home)
    (mediator.scripts / "sdk.py").write_text(module)
    mediator.script("warm.py", SCRIPT)
    return mediator


def what(*, forked: bool) -> dict[str, Any]:
    return {"ticket": TICKET, "arguments": ["one", "\u00e9"], "event": "CREATE", "forked": forked}


async def told(client: Client) -> Any:
    """What the script is given."""
    answer = await client.hand_over(
        Handover(script="warm.py", arguments=["one", "\u00e9"], body=TICKET.encode())
    )
    assert answer.headers["Mediator-Exit-Code"] == "1"
    return json.loads(answer.body)


async def test_a_warm_script_is_a_fork_and_is_given_the_same(tmp_path: Path) -> None:
    with with_script(tmp_path, MODULE) as mediator:
        async with Client(mediator.url) as client:

            async def seen() -> Any:
                return await told(client)

            found = await eventually(seen, until=lambda found: found["forked"])
            assert await client.sample("mediator_warm_parents", state="ready") == 1
            assert await client.sample("mediator_warm_parents", state="failed") == 0
        ready = mediator.events("warm parent ready")
    assert found == what(forked=True)
    assert [entry["preload"] for entry in ready] == [["sdk"]]


async def test_what_is_wrong_with_a_module_is_logged_and_the_script_runs(tmp_path: Path) -> None:
    with with_script(tmp_path, f"{MODULE}\nimport socket\nit = socket.socket()\n") as mediator:
        async with Client(mediator.url) as client:
            assert await told(client) == what(forked=False)

            async def reasons() -> list[str]:
                events = mediator.events("scripts are not kept warm")
                return [entry["reason"] for entry in events]

            found = await eventually(reasons, until=bool)
    assert found == ["sdk opens a socket when it is imported"]


def test_a_script_is_a_fork_in_the_foreground_too(tmp_path: Path) -> None:
    mediator = with_script(tmp_path, MODULE)
    (mediator.home / "ticket.xml").write_text(TICKET)
    done = mediator.cli("run", "warm.py", "--ticket", "ticket.xml", "--", "one", "\u00e9")
    assert json.loads(done.stderr.splitlines()[0]) == what(forked=True)
