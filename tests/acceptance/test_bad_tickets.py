"""A body that is no ticket is refused with the reason, and nothing of it is kept or run."""

from __future__ import annotations

import pytest

from tests.support.mediator import Client, Handover, Mediator

BOMB = (
    '<?xml version="1.0"?><!DOCTYPE t [<!ENTITY a "lolololol">'
    + "".join(
        f'<!ENTITY {name} "{f"&{below};" * 10}">'
        for below, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "]><ticket_info>&i;</ticket_info>"
)
EXTERNAL = '<!DOCTYPE t [<!ENTITY x SYSTEM "file:///etc/hostname">]><ticket_info>&x;</ticket_info>'
DEEP = "<ticket_info>" + "<a>" * 10_000 + "</a>" * 10_000 + "</ticket_info>"
JUMP = 48 * 2**20
"""Bytes that memory may grow by over all of them; the bomb alone would be a gigabyte."""


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"ticket 17", "line 1", id="not XML"),
        pytest.param(b"\x00\x01\x02", "line 1", id="NUL bytes"),
        pytest.param(b'{"ticket": 17}', "line 1", id="JSON"),
        pytest.param(b"<ticket_info><id>17</id>", "line 1", id="truncated"),
        pytest.param(b"<ticket_info>\n<id>17</no>\n</ticket_info>", "line 2", id="mismatched"),
        pytest.param(BOMB.encode(), "document type", id="XML bomb"),
        pytest.param(EXTERNAL.encode(), "document type", id="external entity"),
        pytest.param(DEEP.encode(), "deep", id="10,000 levels deep"),
        pytest.param(b"<ticket_info>\xff\xfe</ticket_info>", "encoding", id="not UTF-8"),
        pytest.param(
            b'<?xml version="1.0" encoding="utf-8"?><ticket_info>\xe9</ticket_info>',
            "encoding",
            id="not the encoding it claims",
        ),
        pytest.param(
            b'<?xml version="1.0" encoding="utf-7"?><ticket_info/>', "encoding", id="UTF-7"
        ),
        pytest.param(b"<other_info/>", "root element", id="another document"),
        pytest.param(b"\x1f\x8b\x08\x00" + b"\x00" * 30, "line 1", id="compressed"),
    ],
)
async def test_a_body_that_is_no_ticket_is_refused_with_its_reason(
    client: Client, body: bytes, reason: str
) -> None:
    before = await latest(client)
    answer = await client.hand_over(Handover(body=body))
    assert answer.status == 400, answer
    assert reason in answer.detail
    assert await latest(client) == before


async def latest(client: Client) -> list[str]:
    """The ids of what was kept last: others hand over too, and a list has its limit."""
    items = (await client.get("/v1/deliveries?limit=500")).json()["items"]
    return [item["id"] for item in items]


async def test_hostile_tickets_do_not_make_the_mediator_big(
    shared: Mediator, client: Client
) -> None:
    await client.hand_over(Handover(body=b"<broken"))
    before = shared.peak_memory()
    for _ in range(10):
        for body in (BOMB, EXTERNAL, DEEP):
            assert (await client.hand_over(Handover(body=body.encode()))).status == 400
    assert shared.peak_memory() - before < JUMP


async def test_the_test_button_may_send_its_ticket_to_any_kind(client: Client) -> None:
    answer = await client.hand_over(
        Handover(script="notify.py", event="TEST", body=b"<ticket_info/>")
    )
    assert answer.status == 200, answer


async def test_a_compressed_body_is_not_unpacked(client: Client) -> None:
    handover = Handover(body=b"\x1f\x8b\x08\x00" + b"\x00" * 30)
    handover.headers = {"Content-Encoding": "gzip"}
    answer = await client.hand_over(handover)
    assert answer.status == 400
