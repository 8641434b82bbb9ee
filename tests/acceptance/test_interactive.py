"""Calls that wait for the script: its answer, its exit code, its end, and everybody's deadlines."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.mediator import CANARY, Client, Handover, Mediator
from tests.support.scripts import gated, interactive
from tests.support.sockets import connect, head

SAYS = "import sys; sys.stdout.write('out\\r\\n\\x00'); sys.stderr.write('err'); sys.exit({code})"
FOREVER = "import signal, time; signal.pause()"


def prepared(home: Path) -> Mediator:
    """Not yet started, and without scripts."""
    return Mediator(home, settings={"dispatch": {"interactive_slots": 2, "grace": "500ms"}})


@pytest.fixture
async def client(mediator: Mediator) -> AsyncIterator[Client]:
    """Talks to it."""
    async with Client(mediator.url) as client:
        yield client


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mediator]:
    """For tests of which each calls for an answer of its own."""
    mediator = prepared(tmp_path_factory.mktemp("mediator"))
    for code in (0, 1, 77, 255):
        mediator.script(f"exit{code}.py", interactive(SAYS.format(code=code)))
    mediator.script("term.py", interactive("import os; os.kill(os.getpid(), 15)"))
    talks = f"import sys; sys.stdout.write('{CANARY}' * 1000)"
    mediator.script("talks.py", interactive(talks, limits="{ output = 1000 }"))
    mediator.script("trigger.py", "#!/usr/bin/env python3\n" + SAYS.format(code=0))
    with mediator:
        yield mediator


class TestAnswers:
    @pytest.fixture
    def mediator(self, answering: Mediator) -> Mediator:
        return answering

    async def test_output_and_exit_code_come_back_as_they_are(self, client: Client) -> None:
        for code in (0, 1, 77, 255):
            answer = await client.hand_over(Handover(script=f"exit{code}"))
            assert answer.status == 200
            assert answer.body == b"out\r\n\x00err"
            assert answer.headers["Mediator-Exit-Code"] == str(code)
            assert answer.headers["Mediator-Stdout-Length"] == "6"
            state = (await client.delivery(answer.delivery))["state"]
            assert state == ("succeeded" if code == 0 else "dead")

    async def test_a_signal_is_told_as_shells_tell_it(self, client: Client) -> None:
        answer = await client.hand_over(Handover(script="term"))
        assert answer.headers["Mediator-Exit-Code"] == str(128 + 15)

    async def test_json_for_who_wants_it(self, client: Client) -> None:
        answer = await client.hand_over(
            Handover(script="exit1", headers={"Accept": "application/json"})
        )
        assert answer.status == 200
        document = answer.json()
        assert document == await client.delivery(answer.delivery)
        (attempt,) = document["attempts"]
        assert (attempt["exit_code"], attempt["stdout"]) == (1, "out\r\n\x00")

    async def test_the_same_content_runs_again_every_time(self, client: Client) -> None:
        first = await client.hand_over(Handover(script="exit0"))
        second = await client.hand_over(Handover(script="exit0"))
        assert first.delivery != second.delivery

    async def test_a_call_sent_again_gets_the_same_answer(self, client: Client) -> None:
        handover = Handover(script="exit77", idempotency_key="again")
        first = await client.hand_over(handover)
        second = await client.hand_over(handover)
        assert first.body == second.body
        for name in ("Mediator-Delivery", "Mediator-Exit-Code", "Mediator-Stdout-Length"):
            assert first.headers[name] == second.headers[name]
        assert (await client.delivery(first.delivery))["attempts_made"] == 1

    async def test_an_answer_over_the_limit_is_an_error_not_a_cut_answer(
        self, client: Client
    ) -> None:
        answer = await client.hand_over(Handover(script="talks"))
        assert answer.status == 502
        assert "limits.output" in answer.detail

    async def test_a_trigger_is_waited_for_when_asked(self, client: Client) -> None:
        waits = Handover(script="trigger", headers={"Prefer": "wait=60"})
        answer = await client.hand_over(waits)
        assert (answer.status, answer.body) == (200, b"out\r\n\x00err")

    async def test_an_answering_script_is_not_waited_for_when_asked(self, client: Client) -> None:
        answer = await client.hand_over(
            Handover(script="exit0", headers={"Prefer": "respond-async"})
        )
        assert answer.status == 202
        assert answer.headers["Location"] == f"/v1/deliveries/{answer.delivery}"
        await client.until(answer.delivery, "succeeded")

    async def test_the_test_button_hears_how_a_trigger_ended(self, mediator: Mediator) -> None:
        shim = mediator.shim("trigger", stdin=b"<ticket_info/>", event="TEST")
        assert (shim.returncode, shim.stdout) == (0, b"out\r\n\x00")
        assert shim.stderr.startswith(b"err")


class TestDeadlines:
    @pytest.fixture
    def mediator(self, tmp_path: Path) -> Iterator[Mediator]:
        """For each of them: what runs takes slots away from others."""
        mediator = prepared(tmp_path)
        mediator.script("short.py", interactive(FOREVER, timeout='"2s"'))
        mediator.script("long.py", interactive(FOREVER, timeout='"60s"'))
        gate, started = tmp_path / "gate", tmp_path / "started"
        mediator.script(
            "gated.py", interactive(gated(gate, started, end="print('done')"), timeout='"60s"')
        )
        with mediator:
            yield mediator

    async def test_a_script_that_runs_out_of_time_is_stopped(self, client: Client) -> None:
        handover = Handover(script="short", idempotency_key="late")
        answer = await client.hand_over(handover)
        assert answer.status == 504
        assert "short.py" in answer.detail
        assert await client.sample("mediator_interactive_deadline_missed_total", script="short.py")
        (listed,) = (await client.get("/v1/deliveries")).json()["items"]
        ended = await client.until(listed["id"], "dead", "cancelled")
        (attempt,) = ended["attempts"]
        assert attempt["outcome"] == "timeout"
        again = await client.hand_over(handover)
        assert again.status == 504, "the same call gets the same answer"

    async def test_who_waits_less_than_the_timeout_is_told_and_the_script_stopped(
        self, client: Client
    ) -> None:
        handover = Handover(script="long", idempotency_key="hasty", headers={"Prefer": "wait=1"})
        answer = await client.hand_over(handover)
        assert answer.status == 504
        assert "1 second" in answer.detail
        (listed,) = (await client.get("/v1/deliveries")).json()["items"]
        ended = await client.until(listed["id"], "cancelled")
        assert ended["last_error"] == "its caller's deadline passed"
        again = await client.hand_over(handover)
        assert again.status == 504, "the same call gets the same answer"

    async def test_who_never_got_a_slot_is_told_and_the_script_never_run(
        self, client: Client
    ) -> None:
        busy = [asyncio.create_task(client.hand_over(Handover(script="gated"))) for _ in range(2)]
        try:
            await client.until_running(2)
            answer = await client.hand_over(Handover(script="short"))
            assert answer.status == 504
            listed = (await client.get("/v1/deliveries?script=short.py")).json()["items"]
            (delivery,) = [await client.until(d["id"], "cancelled") for d in listed]
            assert delivery["attempts"] == []
            assert "deadline" in delivery["last_error"]
        finally:
            for call in busy:
                call.cancel()
            await asyncio.gather(*busy, return_exceptions=True)

    async def test_a_caller_that_goes_away_and_comes_back_gets_the_answer(
        self, mediator: Mediator, client: Client, tmp_path: Path
    ) -> None:
        handover = Handover(script="gated", idempotency_key="gone")
        headers = [*handover.signed().items(), ("Content-Length", str(len(handover.body)))]
        _, writer = await connect(mediator.url)
        writer.write(head("POST", handover.target, headers) + handover.body)
        await client.until_running(1)
        writer.close()
        await writer.wait_closed()
        again = asyncio.create_task(client.hand_over(handover))
        (tmp_path / "gate").touch()
        answer = await again
        assert (answer.status, answer.body) == (200, b"done\n")
        assert (await client.delivery(answer.delivery))["attempts_made"] == 1

    async def test_a_flood_of_triggers_makes_nobody_wait(
        self, mediator: Mediator, client: Client, tmp_path: Path
    ) -> None:
        gate = tmp_path / "flood-gate"
        mediator.script("flood.py", "#!/usr/bin/env python3\n" + gated(gate, tmp_path / "flooding"))
        mediator.script("quick.py", interactive("print('here')", timeout='"60s"'))
        mediator.signal(signal.SIGHUP)
        await client.until_scripts("flood.py", "quick.py")
        for n in range(30):
            answer = await client.hand_over(Handover(script="flood", arguments=[str(n)]))
            assert answer.status == 202
        answer = await client.hand_over(Handover(script="quick"))
        assert (answer.status, answer.body) == (200, b"here\n")
        pending = (await client.get("/v1/deliveries?state=pending")).json()["items"]
        assert pending, "the flood still waits"
        gate.touch()

    async def test_a_cancelled_call_is_told_so(self, client: Client) -> None:
        call = asyncio.create_task(client.hand_over(Handover(script="long")))
        (running,) = await client.until_running(1)
        assert (await client.post(f"/v1/deliveries/{running['id']}/cancel")).status == 200
        answer = await call
        assert answer.status == 409
        assert "cancelled" in answer.detail
