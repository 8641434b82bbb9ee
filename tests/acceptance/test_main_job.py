"""The main job: a ticket crosses from the shim to a script, durably."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.conditions import eventually
from tests.support.mediator import Client, Mediator

NOTIFY = """#!/usr/bin/env python3
import os, sys
ticket = sys.stdin.buffer.read()
print(len(ticket), sys.argv[1:], os.environ["SCW_EVENT"], os.environ["MEDIATOR_TICKET_ID"])
"""


async def test_a_ticket_crosses_from_the_shim_to_the_script(tmp_path: Path, samples: Path) -> None:
    ticket = (samples / "trigger_advance.xml").read_bytes()
    mediator = Mediator(tmp_path)
    mediator.script("notify.py", NOTIFY)
    with mediator:
        shim = mediator.shim("notify", "one", "two words", stdin=ticket, event="ADVANCE")
        assert shim.returncode == 0, shim.stderr
        assert shim.stdout == b""
        async with Client(mediator.url) as client:

            async def ended() -> dict[str, Any]:
                listed = (await client.get("/v1/deliveries")).json()["items"]
                assert len(listed) == 1
                return await client.delivery(listed[0]["id"])

            delivery = await eventually(ended, until=lambda d: d["state"] == "succeeded")
    (attempt,) = delivery["attempts"]
    assert attempt["stdout"] == f"{len(ticket)} ['one', 'two words'] ADVANCE 4711\n"
