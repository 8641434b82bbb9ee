"""The log tells the whole story of a delivery, once, and nothing that is nobody's business."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mediator.model.signatures import Key
from tests.support.conditions import eventually_true
from tests.support.mediator import Client, Handover, Mediator
from tests.support.scripts import gated, interactive
from tests.support.sockets import exchange

MARK = "mark-9f8e7d6c"
SCRIPT = "#!/usr/bin/env python3\nimport os, sys\n"
LATE = SCRIPT + (
    'print("what it says")\nsys.exit(0 if os.environ["MEDIATOR_ATTEMPT"] == "2" else 1)\n'
)
TICKET = f"<ticket_info><id>4711</id><subject>{MARK}</subject></ticket_info>".encode()


def debugging(home: Path, **log: Any) -> Mediator:
    retry = {"attempts": 2, "first": "1ms", "longest": "1ms"}
    dispatch = {"grace": "1s", "retry": retry}
    return Mediator(home, settings={"log": {"level": "debug", **log}, "dispatch": dispatch})


def lines(mediator: Mediator) -> list[dict[str, Any]]:
    return [json.loads(line) for line in mediator.log().splitlines()]


def about(mediator: Mediator, delivery: str) -> list[dict[str, Any]]:
    return [line for line in lines(mediator) if line.get("delivery_id") == delivery]


async def test_the_story_of_a_delivery_with_the_same_ids_everywhere(tmp_path: Path) -> None:
    with debugging(tmp_path) as mediator:
        mediator.script("late.py", LATE)
        async with Client(mediator.url) as client:
            await client.until_scripts("late.py")
            sent = Handover(script="late", body=TICKET, headers={"X-Request-ID": "proxy-1"})
            answer = await client.hand_over(sent)
            assert answer.headers["X-Request-ID"] == "proxy-1"
            await client.until(answer.delivery, "succeeded")
        assert mediator.terminate() == 0
    story = about(mediator, answer.delivery)
    assert [(line["level"], line["event"]) for line in story] == [
        ("info", "delivery accepted"),
        ("debug", "attempt started"),
        ("warning", "attempt ended"),
        ("debug", "attempt started"),
        ("info", "attempt ended"),
        ("info", "delivery ended"),
    ]
    assert {(line["ticket_id"], line["script"]) for line in story} == {("4711", "late.py")}
    assert [line.get("attempt") for line in story] == [None, 1, 1, 2, 2, 2]
    assert [line.get("request_id") for line in story] == ["proxy-1"] + 5 * [None]
    failed, ended = story[2], story[5]
    assert (failed["outcome"], failed["exit_code"], failed["state"]) == ("failed", 1, "pending")
    assert (ended["state"], ended["attempts"], ended["reason"]) == ("succeeded", 2, "")


async def test_a_dead_delivery_is_an_error_unless_a_person_was_told(tmp_path: Path) -> None:
    with debugging(tmp_path) as mediator:
        mediator.script("fails.py", SCRIPT + "sys.exit(64)\n")
        mediator.script("asked.py", interactive("raise SystemExit(1)"))
        async with Client(mediator.url) as client:
            await client.until_scripts("fails.py", "asked.py")
            dead = await client.hand_over(Handover(script="fails"))
            await client.until(dead.delivery, "dead")
            told = await client.hand_over(Handover(script="asked"))
            assert told.status == 200
        ends = {line["delivery_id"]: line for line in mediator.events("delivery ended")}
        assert ends[dead.delivery]["level"] == "error"
        assert "gives up on this exit code" in ends[dead.delivery]["reason"]
        assert ends[told.delivery]["level"] == "warning"


async def test_neither_tickets_nor_outputs_nor_secrets_are_told(tmp_path: Path) -> None:
    """Whatever happens, at the level that tells most."""
    says = f"print({MARK!r}, sys.stdin.read()); print({MARK!r}, file=sys.stderr)\n"
    gate, started = tmp_path / "gate", tmp_path / "started"
    with debugging(tmp_path) as mediator:
        mediator.script("ok.py", SCRIPT + says)
        mediator.script("dead.py", SCRIPT + says + "sys.exit(64)\n")
        mediator.script("crash.py", SCRIPT + says + f"raise ValueError({MARK!r})\n")
        mediator.script("slow.py", SCRIPT + says + gated(gate, started))
        mediator.script("asks.py", interactive(f"import sys\n{says}", answer='["answer"]'))
        async with Client(mediator.url) as client:
            await client.until_scripts("ok.py", "dead.py", "crash.py", "slow.py", "asks.py")
            for name, state in (("ok", "succeeded"), ("dead", "dead"), ("crash", "dead")):
                query = f"SCW_EVENT=CREATE&SCW_WORKFLOW={MARK}&arg={MARK}"
                answer = await client.hand_over(Handover(script=name, body=TICKET, query=query))
                await client.until(answer.delivery, state)
            assert (await client.hand_over(Handover(script="asks", body=TICKET))).status == 502
            slow = await client.hand_over(Handover(script="slow", body=TICKET))
            await client.until_running(1)
            await client.post(f"/v1/deliveries/{slow.delivery}/cancel")
            gate.touch()
            await client.until(slow.delivery, "cancelled", "succeeded")
            await refusals(client)
            for path in ("/v1/deliveries", "/v1/scripts"):
                assert (await client.get(path, token=f"{MARK}-token")).status == 401
        await exchange(mediator.url, f"GET {MARK} HTTP/9.9\r\n\r\n".encode())
        assert mediator.terminate() == 0
    log = mediator.log()
    assert MARK not in log
    assert {line["event"] for line in lines(mediator)} >= {
        "delivery ended",
        "delivery cancelled",
        "hand-over refused",
        "hand-over kept but not answered",
        "request refused",
        "not HTTP",
    }


async def refusals(client: Client) -> None:
    """Hand-overs that are refused, each for a reason of its own."""
    stranger = Key(id="securechange", secret=f"{MARK}{'x' * 40}".encode())
    spoilt = {"Signature": f"mediator=:{MARK}:", "Idempotency-Key": MARK}
    cases = [
        (Handover(script="ok", body=f"<other>{MARK}</other>".encode()), 400),
        (Handover(script="ok", body=TICKET[:-5]), 400),
        (Handover(script="ok", body=TICKET, query=f"SCW_EVENT={MARK}%20x"), 400),
        (Handover(script="ok", body=TICKET, key=stranger), 401),
        (Handover(script="ok", body=TICKET, headers=spoilt), 401),
        (Handover(script="nobody", body=TICKET), 404),
    ]
    for handover, status in cases:
        answer = await client.hand_over(handover)
        assert answer.status == status, answer


async def test_what_scripts_write_is_told_line_by_line_where_that_is_wanted(
    tmp_path: Path,
) -> None:
    with debugging(tmp_path, script_output=True) as mediator:
        mediator.script("late.py", LATE + 'print("never")\n')
        async with Client(mediator.url) as client:
            await client.until_scripts("late.py")
            answer = await client.hand_over(Handover(script="late", body=TICKET))
            await client.until(answer.delivery, "succeeded")
        told = eventually_true(lambda: mediator.events("script output"))
    assert [(line["attempt"], line["stream"], line["line"]) for line in told] == [
        (1, "stdout", "what it says"),
        (2, "stdout", "what it says"),
    ]
    assert {(line["delivery_id"], line["script"]) for line in told} == {
        (answer.delivery, "late.py")
    }


class TestRequestIds:
    async def test_an_answer_names_the_request_as_the_log_does(
        self, client: Client, shared: Mediator
    ) -> None:
        answer = await client.get("/v1/deliveries", token="nobody's" * 5)
        request_id = answer.headers["X-Request-ID"]
        assert answer.json()["request_id"] == request_id
        lines = shared.events("request refused")
        assert request_id in [line["request_id"] for line in lines]

    @pytest.mark.parametrize(
        ("sent", "taken"),
        [
            pytest.param("0a9f:proxy/1", True, id="fit"),
            pytest.param("x" * 64, True, id="as long as may be"),
            pytest.param("x" * 65, False, id="too long"),
            pytest.param("a b", False, id="a blank"),
            pytest.param('a"b', False, id="a quotation mark"),
            pytest.param("-x", False, id="like an option"),
            pytest.param("\u00e4", False, id="not ASCII"),
        ],
    )
    async def test_one_that_comes_along_is_taken_if_it_is_fit(
        self, client: Client, sent: str, *, taken: bool
    ) -> None:
        async with client.session.get(
            f"{client.url}/livez", headers={"X-Request-ID": sent}
        ) as answer:
            found = answer.headers["X-Request-ID"]
        assert (found == sent) is taken
        assert found

    async def test_what_is_refused_before_its_body_has_one_too(self, shared: Mediator) -> None:
        target = Handover(script="ok").target
        request = f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: "
        for expected, status in (("100-continue", 401), ("nothing", 417)):
            answer = await exchange(shared.url, f"{request}{expected}\r\n\r\n".encode())
            assert answer.status == status
            assert f"X-Request-ID: {answer.problem()['request_id']}" in answer.head

    async def test_what_is_not_http_has_one_too(self, shared: Mediator) -> None:
        answer = await exchange(shared.url, b"\x16\x03\x01\x02\r\n\r\n")
        request_id = answer.problem()["request_id"]
        assert request_id in [line["request_id"] for line in shared.events("not HTTP")]

    async def test_requests_of_one_connection_do_not_share_one(self, client: Client) -> None:
        ids = {(await client.get("/livez")).headers["X-Request-ID"] for _ in range(3)}
        assert len(ids) == 3
