"""What became of a call: the delivery that the shim told of, once it has ended."""

from __future__ import annotations

import re
import subprocess
from typing import Any

from tests.support.conditions import eventually
from tests.support.mediator import Client, Mediator

_ENDED = {"succeeded", "dead", "cancelled"}


def delivery_id(shim: subprocess.CompletedProcess[bytes]) -> str:
    """The delivery as which a trigger was accepted."""
    assert shim.returncode == 0, shim.stderr.decode()
    assert shim.stdout == b""
    told = re.fullmatch(
        r"securechange-shim: \S+ accepted as delivery (\S+)\n", shim.stderr.decode()
    )
    assert told is not None, shim.stderr
    return told[1]


async def ended(
    mediator: Mediator, shim: subprocess.CompletedProcess[bytes], *, state: str = "succeeded"
) -> list[dict[str, Any]]:
    """The attempts of a trigger's delivery, after it has come to an end in this state."""
    async with Client(mediator.url) as client:
        accepted = delivery_id(shim)
        delivery = await eventually(
            lambda: client.delivery(accepted), until=lambda found: found["state"] in _ENDED
        )
    assert delivery["state"] == state, delivery
    attempts: list[dict[str, Any]] = delivery["attempts"]
    return attempts
