"""One shim for every event of every workflow: the routes choose the scripts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mediator.model.signatures import Key
from tests.support.mediator import Client, Handover, Mediator

ROUTES: list[dict[str, Any]] = [
    {"event": "CREATE", "scripts": ["notify.py", "audit.py"]},
    {"event": ["ADVANCE", "REDO"], "workflow": "Firewall *", "scripts": ["push.py"]},
    {"subject": "*URGENT*", "scripts": ["audit.py", "page.py"]},
    {"event": "CLOSE", "scripts": ["broken.py"]},
    {"event": "REOPEN", "scripts": ["notify.py", "nowhere.py"]},
    {"event": "REJECT", "scripts": ["ask.py"]},
]
LIMITED = Key(id="limited", secret=b"l" * 40)


def ticket(number: int, subject: str = "open 443") -> bytes:
    return f"<ticket_info><id>{number}</id><subject>{subject}</subject></ticket_info>".encode()


def make(home: Path) -> Mediator:
    home.mkdir(parents=True, exist_ok=True)
    key = home / "limited.key"
    key.write_bytes(LIMITED.secret + b"\n")
    key.chmod(0o600)
    keys = [
        {"id": "securechange", "secret_file": "securechange.key"},
        {"id": LIMITED.id, "secret_file": key.name, "scripts": ["audit.py"]},
    ]
    made = Mediator(home, {"auth": {"keys": keys}})
    made.config.write_text(made.config.read_text() + f"routes: {ROUTES!r}\n")
    for name in ("notify.py", "audit.py", "push.py", "page.py"):
        made.script(name, "#!/bin/sh\nexit 0\n")
    made.script("broken.py", "#!/no/such/python\n")
    made.script(
        "ask.py", '#!/bin/sh\n# /// script\n# [tool.mediator]\n# kind = "condition"\n# ///\n'
    )
    return made


@pytest.fixture(scope="module")
def mediator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mediator]:
    with make(tmp_path_factory.mktemp("events")) as made:
        yield made


def event(body: bytes, **more: Any) -> Handover:
    return Handover(path="/v1/events", body=body, **more)


async def scripts_of(client: Client, number: int) -> list[str]:
    items = (await client.get(f"/v1/deliveries?ticket={number}")).json()["items"]
    return [item["script"] for item in reversed(items)]


@pytest.mark.parametrize(
    ("number", "name", "arguments", "subject", "scripts"),
    [
        pytest.param(1, "CREATE", (), "x", ["notify.py", "audit.py"], id="by event"),
        pytest.param(2, "REDO", ("Firewall Change",), "x", ["push.py"], id="by event and workflow"),
        pytest.param(3, "REDO", ("Decommission",), "x", [], id="another workflow"),
        pytest.param(
            4,
            "CREATE",
            (),
            "[URGENT] x",
            ["notify.py", "audit.py", "page.py"],
            id="two rows, each script once",
        ),
    ],
)
async def test_each_matching_script_gets_one_delivery_in_the_order_of_the_table(
    mediator: Mediator,
    number: int,
    name: str,
    arguments: tuple[str, ...],
    subject: str,
    scripts: list[str],
) -> None:
    async with Client(mediator.url) as client:
        handover = event(ticket(number, subject), event=name, arguments=arguments)
        answer = await client.hand_over(handover)
        assert await scripts_of(client, number) == scripts
        for delivery in answer.json()["deliveries"]:
            await client.until(delivery["delivery"], "succeeded")
    assert answer.status == 202
    assert [d["script"] for d in answer.json()["deliveries"]] == scripts
    ids = [d["delivery"] for d in answer.json()["deliveries"]]
    assert answer.headers["Mediator-Delivery"] == (", ".join(ids) or "none")


async def test_no_match_is_recorded_and_counted_and_no_error(mediator: Mediator) -> None:
    async with Client(mediator.url) as client:
        before = await client.sample("mediator_events_total", result="unrouted")
        answer = await client.hand_over(event(ticket(10), event="RESOLVE"))
        after = await client.sample("mediator_events_total", result="unrouted")
    assert (answer.status, answer.json()) == (202, {"deliveries": []})
    assert after == before + 1
    assert "10" in [line["ticket_id"] for line in mediator.events("event not routed")]


@pytest.mark.parametrize(
    ("number", "name", "sentence"),
    [
        pytest.param(20, "CLOSE", "broken.py is not ready", id="a script that cannot run"),
        pytest.param(
            21, "REOPEN", "nowhere.py, and there is none", id="a script that is not there"
        ),
        pytest.param(22, "REJECT", "whose kind condition must answer", id="an interactive script"),
    ],
)
async def test_all_deliveries_of_an_event_are_kept_or_none(
    mediator: Mediator, number: int, name: str, sentence: str
) -> None:
    async with Client(mediator.url) as client:
        answer = await client.hand_over(event(ticket(number), event=name))
        assert await scripts_of(client, number) == []
    assert answer.status == 409
    assert sentence in answer.detail


async def test_sent_again_or_tried_again_it_is_the_same_deliveries(mediator: Mediator) -> None:
    async with Client(mediator.url) as client:
        first = await client.hand_over(event(ticket(30), idempotency_key="k-30"))
        resent = await client.hand_over(event(ticket(30), idempotency_key="k-30"))
        tried = await client.hand_over(event(ticket(30)))
        assert await scripts_of(client, 30) == ["notify.py", "audit.py"]
    ids = [d["delivery"] for d in first.json()["deliveries"]]
    assert [d["delivery"] for d in resent.json()["deliveries"]] == ids
    assert [d["delivery"] for d in tried.json()["deliveries"]] == ids
    assert [d["duplicate"] for d in tried.json()["deliveries"]] == [True, True]


async def test_a_limited_key_cannot_reach_other_scripts_by_a_route(mediator: Mediator) -> None:
    async with Client(mediator.url) as client:
        refused = await client.hand_over(event(ticket(40), key=LIMITED))
        taken = await client.hand_over(event(ticket(41, "URGENT"), event="RESOLVE", key=LIMITED))
        assert await scripts_of(client, 40) == []
    assert refused.status == 403
    assert "The key limited may not hand tickets to notify.py" in refused.detail
    assert taken.status == 403  # page.py is in the same row


async def test_a_changed_byte_is_refused(mediator: Mediator) -> None:
    handover = event(ticket(50))
    async with Client(mediator.url) as client:
        answer = await client.send(handover.target, ticket(51), handover.signed())
    assert answer.status == 401


async def test_deliveries_of_an_event_are_there_after_a_power_cut(tmp_path: Path) -> None:
    made = make(tmp_path)
    with made:
        async with Client(made.url) as client:
            answers = await asyncio.gather(
                *(client.hand_over(event(ticket(number))) for number in range(20))
            )
        made.kill()
        made.start()
        async with Client(made.url) as client:
            for answer in answers:
                for delivery in answer.json()["deliveries"]:
                    await client.until(delivery["delivery"], "succeeded")


def test_through_the_shim(mediator: Mediator) -> None:
    done = mediator.shim("--events", "Firewall X", stdin=ticket(60), event="ADVANCE")
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"accepted as delivery " in done.stderr
    none = mediator.shim("--events", stdin=ticket(61), event="ADVANCE")
    assert none.returncode == 0
    assert b"no route of the mediator wants this event" in none.stderr


def test_the_test_button_says_which_routed_scripts_can_run(mediator: Mediator) -> None:
    done = mediator.shim("--events", stdin=b"<ticket_info/>", event="TEST")
    assert done.returncode == 1
    lines = done.stdout.decode().splitlines()
    assert "notify.py: ready" in lines
    assert "nowhere.py: there is no such script" in lines
    assert any(line.startswith("broken.py: ") and "/no/such/python" in line for line in lines)


def test_a_row_that_names_an_interactive_or_missing_script_is_told_by_check(
    mediator: Mediator,
) -> None:
    said = mediator.cli("check").stdout
    assert "routes[4].scripts names nowhere.py" in said
    assert "routes[5].scripts names ask.py, which is left out" in said


async def test_without_routes_an_event_must_name_its_script(tmp_path: Path) -> None:
    with Mediator(tmp_path) as made:
        async with Client(made.url) as client:
            answer = await client.hand_over(event(ticket(1)))
    assert answer.status == 404
    assert "The settings have no routes" in answer.detail


def test_explain_says_which_rows_match_and_why_not_the_others(mediator: Mediator) -> None:
    done = mediator.cli(
        "routes",
        "explain",
        "--event",
        "ADVANCE",
        "--ticket",
        "-",
        "--",
        "Firewall X",
        stdin=ticket(1).decode(),
    )
    assert done.returncode == 0, done.stderr
    assert "event 'ADVANCE' is not CREATE" in done.stdout
    assert "subject 'open 443' is not '*URGENT*'" in done.stdout
    assert "it goes to push.py" in done.stderr
