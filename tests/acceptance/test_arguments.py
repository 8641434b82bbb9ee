"""Arguments and variables reach the script byte for byte, whatever they hold."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from tests.support.mediator import Client, Handover, Mediator

VALUES = [
    pytest.param("", id="empty"),
    pytest.param("grüße, 世界 🎫", id="UTF-8"),
    pytest.param(os.fsdecode(b"\xff\xfe caf\xe9"), id="not UTF-8"),
    pytest.param('it\'s "quoted" `$(id)` \\', id="quotes"),
    pytest.param("100%41 %00 %zz", id="percent signs"),
    pytest.param("one\ntwo\r\nthree\t", id="line breaks"),
    pytest.param("a+b & c=d; e#f?g", id="signs of the query"),
    pytest.param(" ", id="a blank"),
    pytest.param("x" * 30_000, id="30 kB"),
    pytest.param("ü" * 15_000, id="30 kB, each byte encoded as three"),
    pytest.param("-rf", id="an option"),
    pytest.param("\x01\x1b[31m\x7f", id="control characters"),
]


async def told(client: Client, handover: Handover) -> dict[str, Any]:
    answer = await client.hand_over(handover)
    assert answer.status == 200, answer
    document: dict[str, Any] = json.loads(answer.body)
    return document


@pytest.mark.parametrize("value", VALUES)
async def test_an_argument_arrives_as_it_was_sent(client: Client, value: str) -> None:
    seen = await told(client, Handover(script="tell.py", arguments=["first", value, "last"]))
    assert seen["arguments"] == ["first", os.fsencode(value).decode("latin-1"), "last"]


@pytest.mark.parametrize("value", VALUES)
async def test_a_variable_arrives_as_it_was_sent(client: Client, value: str) -> None:
    query = "SCW_EVENT=CREATE&SCW_X=" + "".join(f"%{b:02X}" for b in os.fsencode(value))
    seen = await told(client, Handover(script="tell.py", query=query))
    assert seen["variables"] == {
        "SCW_EVENT": "CREATE",
        "SCW_X": os.fsencode(value).decode("latin-1"),
    }


SMALL = [value for value in VALUES if len(str(value.values[0])) in range(1, 1000)]


@pytest.mark.parametrize("value", SMALL)
async def test_the_shim_carries_it_just_so(shared: Mediator, value: str) -> None:
    shim = shared.shim("tell", value, stdin=b"<ticket_info/>", environment={"SCW_X": value})
    assert shim.returncode == 0, shim.stderr
    seen = json.loads(shim.stdout)
    assert seen["arguments"] == [os.fsencode(value).decode("latin-1")]
    assert seen["variables"]["SCW_X"] == os.fsencode(value).decode("latin-1")


@pytest.mark.parametrize(
    ("query", "named"),
    [
        pytest.param("SCW_EVENT=A&SCW_EVENT=B", "SCW_EVENT", id="a variable twice"),
        pytest.param("SCW_EVENT=A&foo=1", "foo", id="an unknown parameter"),
        pytest.param("SCW_EVENT=A&PATH=/tmp", "PATH", id="a variable that is not SecureChange's"),
        pytest.param("SCW_EVENT=A&scw_event=B", "scw_event", id="small letters"),
        pytest.param("SCW_EVENT=A&arg=x%00y", "NUL", id="NUL in an argument"),
        pytest.param("SCW_EVENT=A&SCW_X=%00", "NUL", id="NUL in a variable"),
        pytest.param("SCW_EVENT=A&arg", "query string", id="no value"),
        pytest.param("SCW_EVENT=A&SCW_X-Y=1", "SCW_X-Y", id="no name of a variable"),
        pytest.param("SCW_EVENT=A&SCW_=1", "SCW_", id="an empty name"),
        pytest.param("SCW_EVENT=a%20b", "SCW_EVENT", id="an event of two words"),
        pytest.param("&".join(["arg=1"] * 1001), "query string", id="too many"),
        pytest.param("SCW_EVENT=A&%FF%FE=1", "unknown", id="a name that is not UTF-8"),
    ],
)
async def test_a_query_that_no_shim_sends_is_refused_by_name(
    client: Client, query: str, named: str
) -> None:
    answer = await client.hand_over(Handover(query=query))
    assert answer.status == 400, answer
    assert named in answer.detail


async def test_a_list_shows_bytes_that_are_not_text_as_marks(client: Client) -> None:
    handover = Handover(script="tell.py", arguments=[os.fsdecode(b"\xff")])
    delivery = await client.delivery((await client.hand_over(handover)).delivery)
    assert delivery["arguments"] == ["\N{REPLACEMENT CHARACTER}"]
