"""Signals: it drains, it hurries, it reloads; and it never pretends to live."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import psutil

from tests.support.conditions import eventually_true
from tests.support.mediator import Client, Handover, Mediator
from tests.support.scripts import OK, gated, interactive
from tests.support.sockets import connect, head, read_answer

GATED = "#!/usr/bin/env python3\n"


def gated_mediator(home: Path, text: str, **dispatch: str) -> Mediator:
    mediator = Mediator(home, settings={"dispatch": {"grace": "500ms", "drain": "60s", **dispatch}})
    mediator.script("gated.py", text)
    return mediator


async def until_draining(client: Client) -> None:
    while (await client.get("/readyz", token=None)).status == 200:
        pass


async def test_it_waits_for_what_runs_and_takes_nothing_new(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    mediator = gated_mediator(tmp_path, GATED + gated(gate, tmp_path / "started"))
    with mediator:
        async with Client(mediator.url) as client:
            answer = await client.hand_over(Handover(script="gated"))
            await client.until_running(1)
            mediator.signal(signal.SIGTERM)
            await until_draining(client)
            refused = await client.hand_over(Handover(script="gated", arguments=["late"]))
            assert refused.status == 503
            assert int(refused.headers["Retry-After"]) > 0
            assert "shutting down" in refused.detail
            gate.touch()
        assert mediator.wait() == 0
        mediator.start()
        async with Client(mediator.url) as client:
            delivery = await client.delivery(answer.delivery)
            assert (delivery["state"], delivery["attempts_made"]) == ("succeeded", 1)
            assert len((await client.get("/v1/deliveries")).json()["items"]) == 1


async def test_who_waits_for_a_script_while_it_drains_gets_its_answer(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    script = interactive(gated(gate, tmp_path / "started", end="print('done')"), timeout='"60s"')
    mediator = gated_mediator(tmp_path, script)
    with mediator:
        async with Client(mediator.url) as client:
            call = asyncio.create_task(client.hand_over(Handover(script="gated")))
            await client.until_running(1)
            mediator.signal(signal.SIGTERM)
            await until_draining(client)
            gate.touch()
            answer = await call
        assert (answer.status, answer.body) == (200, b"done\n")
        assert mediator.wait() == 0


async def test_a_second_signal_cuts_what_runs_and_tells_who_waits(tmp_path: Path) -> None:
    script = interactive(gated(tmp_path / "never", tmp_path / "started"), timeout='"60s"')
    mediator = gated_mediator(tmp_path, script, drain="10m")
    with mediator:
        async with Client(mediator.url) as client:
            call = asyncio.create_task(client.hand_over(Handover(script="gated")))
            await client.until_running(1)
            mediator.signal(signal.SIGTERM)
            await until_draining(client)
            mediator.signal(signal.SIGTERM)
            answer = await call
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert "shut down" in answer.detail
        assert mediator.wait() == 0


async def test_what_was_cut_at_the_drain_limit_is_made_again(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    mediator = gated_mediator(tmp_path, GATED + gated(gate, tmp_path / "started"), drain="100ms")
    with mediator:
        async with Client(mediator.url) as client:
            answer = await client.hand_over(Handover(script="gated"))
            await client.until_running(1)
        assert mediator.terminate() == 0
        gate.touch()
        mediator.start()
        async with Client(mediator.url) as client:
            delivery = await client.until(answer.delivery, "succeeded")
    assert [a["outcome"] for a in delivery["attempts"]] == ["cancelled", "ok"]


async def test_a_ticket_that_is_arriving_at_the_signal_is_still_answered(tmp_path: Path) -> None:
    mediator = Mediator(tmp_path)
    mediator.script("ok.sh", OK)
    handover = Handover(script="ok")
    headers = [*handover.signed().items(), ("Content-Length", str(len(handover.body)))]
    with mediator:
        async with Client(mediator.url) as client:
            reader, writer = await connect(mediator.url)
            writer.write(head("POST", handover.target, [*headers, ("Expect", "100-continue")]))
            assert (await read_answer(reader)).status == 100  # it is being read now
            mediator.signal(signal.SIGTERM)
            await until_listening_no_more(mediator)
            writer.write(handover.body)
            answer = await read_answer(reader)
            writer.close()
            del client
        assert answer.status == 202
        assert mediator.wait() == 0


async def until_listening_no_more(mediator: Mediator) -> None:
    try:
        while True:
            _, writer = await connect(mediator.url)
            writer.close()
    except ConnectionError:
        pass


async def test_hangup_reads_the_scripts_again(tmp_path: Path) -> None:
    mediator = Mediator(tmp_path)
    mediator.script("one.sh", OK)
    with mediator:
        async with Client(mediator.url) as client:
            assert (await client.hand_over(Handover(script="two"))).status == 404
            mediator.script("two.sh", OK)
            mediator.signal(signal.SIGHUP)
            await client.until_scripts("one.sh", "two.sh")
            assert (await client.hand_over(Handover(script="two"))).status == 202
            hidden = mediator.scripts.rename(tmp_path / "hidden")
            mediator.signal(signal.SIGHUP)
            eventually_true(lambda: mediator.events("scripts not reloaded"))
            eventually_true(lambda: mediator.events("script not ready"))
            refused = await client.hand_over(Handover(script="one"))
            assert refused.status == 409
            assert "does not exist" in refused.detail
            hidden.rename(mediator.scripts)
            await client.until_scripts("one.sh")
            assert (await client.hand_over(Handover(script="one"))).status == 202


DIES = """
import sys
from mediator.cli.main import main
from mediator.dispatch.dispatcher import Dispatcher
from pathlib import Path
look = Dispatcher._round
async def dying(self, group):
    if Path("die").exists():
        raise RuntimeError("it was told to")
    return await look(self, group)
Dispatcher._round = dying
sys.argv[0] = "mediator"
main()
"""


async def test_a_dead_dispatcher_takes_the_daemon_with_it(tmp_path: Path) -> None:
    mediator = Mediator(tmp_path, command=(sys.executable, "-c", DIES))
    mediator.script("gated.py", GATED + gated(tmp_path / "never", tmp_path / "started"))
    with mediator:
        async with Client(mediator.url) as client:
            await client.hand_over(Handover(script="gated"))
            await client.until_running(1)
        children = psutil.Process(mediator.pid).children(recursive=True)
        assert children
        (tmp_path / "die").touch()
        assert mediator.wait() == 1
        (line,) = mediator.events("part died")
        assert (line["level"], line["part"]) == ("error", "dispatcher")
        assert "mediator: the dispatcher died" in mediator.log()
        psutil.wait_procs(children, timeout=30)
        assert not [child for child in children if child.is_running()]


async def test_a_stop_leaves_no_process_behind(tmp_path: Path) -> None:
    mediator = Mediator(tmp_path)
    mediator.script("ok.sh", OK)
    with mediator:
        async with Client(mediator.url) as client:
            answer = await client.hand_over(Handover(script="ok"))
            await client.until(answer.delivery, "succeeded")
        children = psutil.Process(mediator.pid).children(recursive=True)
        assert mediator.terminate() == 0
        assert not [child for child in children if child.is_running()]


async def test_idle_connections_do_not_hold_it_up(tmp_path: Path) -> None:
    mediator = Mediator(tmp_path)
    with mediator:
        connections = [await connect(mediator.url) for _ in range(5)]
        connections[0][1].write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        await read_answer(connections[0][0])
        connections[1][1].write(b"GET /livez HT")  # the beginning of a request
        assert mediator.terminate() == 0
        for reader, writer in connections:
            assert await reader.read() == b""
            writer.close()
