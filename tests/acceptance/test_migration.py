"""Callers that other people's mediators were written for keep working while they migrate."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.support.mediator import OPERATOR, VIEWER, Answer, Client, Mediator

SENDER = "s" * 40
TICKET = "<ticket_info><id>9</id><subject>Größe</subject></ticket_info>".encode()
ENCODED = base64.b64encode(TICKET).decode()
ECHO = """#!/usr/bin/env python3
import os, sys
print(len(sys.stdin.buffer.read()), sys.argv[1:], os.environ.get("SCW_EVENT"))
"""


def make(home: Path, *, migration: bool) -> Mediator:
    home.mkdir(parents=True, exist_ok=True)
    token = home / "sender.token"
    token.write_text(SENDER + "\n")
    token.chmod(0o600)
    tokens = [
        {"name": "ops", "role": "operator", "secret_file": "operator.token"},
        {"name": "eyes", "role": "viewer", "secret_file": "viewer.token"},
        {"name": "old", "role": "sender", "secret_file": "sender.token"},
    ]
    made = Mediator(
        home,
        {"auth": {"tokens": tokens}, "http": {"port": 0, "migration": migration}},
    )
    made.script("echo.py", ECHO)
    return made


@pytest.fixture(scope="module")
def mediator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mediator]:
    with make(tmp_path_factory.mktemp("migration"), migration=True) as made:
        yield made


async def post(
    mediator: Mediator,
    body: bytes,
    kind: str = "application/xml",
    *,
    query: str = "",
    token: str | None = SENDER,
) -> Answer:
    headers = {"Content-Type": kind}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    async with Client(mediator.url) as client:
        return await client.send(f"/v1/migration/echo{query}", body, headers)


@pytest.mark.parametrize(
    ("body", "kind", "query", "event", "arguments"),
    [
        pytest.param(TICKET, "application/xml", "?SCW_EVENT=CREATE", "CREATE", [], id="raw"),
        pytest.param(
            urlencode({"ticket_info": ENCODED}).encode(),
            "application/x-www-form-urlencoded",
            "?SCW_EVENT=CLOSE&arg=a%20b",
            "CLOSE",
            ["a b"],
            id="a form",
        ),
        pytest.param(
            f"ticket_info={ENCODED}&event=REDO".encode(),
            "application/x-www-form-urlencoded",
            "",
            "REDO",
            [],
            id="a form whose plus signs nobody encoded",
        ),
        pytest.param(
            json.dumps({"ticket_info": ENCODED, "event": "ADVANCE"}).encode(),
            "application/json",
            "",
            "ADVANCE",
            [],
            id="JSON",
        ),
        pytest.param(
            json.dumps(
                {"ticket_info": ENCODED, "event": "REJECT", "arguments": ["x", "y z"]}
            ).encode(),
            "application/json",
            "",
            "REJECT",
            ["x", "y z"],
            id="JSON with arguments",
        ),
    ],
)
async def test_the_ticket_arrives_byte_for_byte(
    mediator: Mediator, body: bytes, kind: str, query: str, event: str, arguments: list[str]
) -> None:
    answer = await post(mediator, body, kind, query=query)
    assert answer.status == 202, answer.body
    async with Client(mediator.url) as client:
        delivery = await client.until(answer.delivery, "succeeded")
    assert delivery["attempts"][0]["stdout"] == f"{len(TICKET)} {arguments} {event}\n"
    assert delivery["key"] == "token old"


@pytest.mark.parametrize(
    ("body", "kind", "sentence"),
    [
        pytest.param(b"{", "application/json", "is not the JSON", id="no JSON"),
        pytest.param(b"[]", "application/json", "must be an object", id="a list"),
        pytest.param(b"{}", "application/json", "ticket_info with the ticket", id="no ticket"),
        pytest.param(b'{"ticket_info": "#"}', "application/json", "is not base64", id="no base64"),
        pytest.param(
            b'{"ticket_info": "", "event": 3}', "application/json", "must be a word", id="a number"
        ),
        pytest.param(
            b'{"ticket_info": "", "event": "A&arg=x"}',
            "application/json",
            "SCW_EVENT",
            id="an event that is a query",
        ),
        pytest.param(
            b"x", "multipart/form-data; boundary=x", "x-www-form-urlencoded", id="multipart"
        ),
        pytest.param(b"<other/>", "application/xml", "its root element is", id="no ticket in it"),
    ],
)
async def test_nonsense_is_refused_with_a_sentence(
    mediator: Mediator, body: bytes, kind: str, sentence: str
) -> None:
    answer = await post(mediator, body, kind)
    assert answer.status == 400
    assert sentence in answer.detail


@pytest.mark.parametrize(
    ("token", "status"),
    [
        pytest.param(None, 401, id="none"),
        pytest.param("x" * 40, 401, id="a wrong one"),
        pytest.param(VIEWER, 403, id="one that may only look"),
        pytest.param(OPERATOR, 202, id="an operator's"),
    ],
)
async def test_it_takes_a_token_that_may_send(
    mediator: Mediator, token: str | None, status: int
) -> None:
    assert (await post(mediator, TICKET, query="?arg=1", token=token)).status == status


async def test_a_sender_may_not_look(mediator: Mediator) -> None:
    async with Client(mediator.url) as client:
        assert (await client.get("/v1/deliveries", token=SENDER)).status == 403


async def test_it_is_closed_unless_the_settings_open_it(tmp_path: Path) -> None:
    with make(tmp_path, migration=False) as made:
        answer = await post(made, TICKET)
    assert answer.status == 404
    assert "http.migration" in answer.detail
