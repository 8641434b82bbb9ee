"""More is handed over than there is room for: the caller is told, and nothing kept is lost."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.test_store_trouble import small_disk
from tests.support.conditions import eventually
from tests.support.mediator import Answer, Client, Handover, Mediator
from tests.support.scripts import OK

MIB = 2**20
CROWDED = {"status": "429", "reason": "crowded"}
GATED = "#!/bin/sh\nuntil [ -e {gate} ]; do sleep 0.02; done\n"


def gated(home: Path, **store: object) -> Mediator:
    """A mediator that runs one attempt at once, of scripts that wait for the file `gate`."""
    mediator = Mediator(home / "m", settings={"store": store, "dispatch": {"slots": 1}})
    for name in ("a.sh", "b.sh"):
        mediator.script(name, GATED.format(gate=home / "gate"))
    return mediator


def handover(script: str, number: int) -> Handover:
    return Handover(script=script, arguments=[str(number)], idempotency_key=f"{script}-{number}")


def refused(answer: Answer, status: int, setting: str) -> None:
    assert answer.status == status, answer
    assert int(answer.headers["Retry-After"]) > 0
    assert setting in answer.detail


async def one_runs_and_wait(client: Client, *waiting: str) -> list[str]:
    """One runs, and of these scripts one each waits; their ids."""
    ids = [await taken(client, "a.sh", 0)]
    await client.until_running(1)
    return ids + [await taken(client, script, number) for number, script in enumerate(waiting, 1)]


async def taken(client: Client, script: str, number: int) -> str:
    """The id of a delivery, once it is let in: where counting takes long, an old count is used."""
    answer = await eventually(
        lambda: client.hand_over(handover(script, number)),
        until=lambda answer: answer.status not in {429, 503},
    )
    return answer.delivery


async def test_beyond_most_pending_intake_waits_until_scripts_have_caught_up(
    tmp_path: Path,
) -> None:
    with gated(tmp_path, most_pending=2) as mediator:
        async with Client(mediator.url) as client:
            kept = await one_runs_and_wait(client, "a.sh", "b.sh")
            for script in ("a.sh", "b.sh"):
                refused(await client.hand_over(handover(script, 9)), 503, "store.most_pending ")
            resent = await client.hand_over(handover("b.sh", 2))
            assert (resent.status, resent.delivery) == (202, kept[2])
            assert (await client.get("/readyz", token=None)).status == 200, "it works all the same"
            (tmp_path / "gate").touch()
            for delivery in kept:
                await client.until(delivery, "succeeded")
            await eventually(
                lambda: client.hand_over(handover("a.sh", 9)), until=lambda a: a.status == 202
            )


async def test_one_script_s_backlog_leaves_room_for_the_others(tmp_path: Path) -> None:
    with gated(tmp_path, most_pending_per_script=1) as mediator:
        async with Client(mediator.url) as client:
            _, waiting = await one_runs_and_wait(client, "a.sh")
            before = await client.sample("mediator_requests_rejected_total", **CROWDED)
            refused(await client.hand_over(handover("a.sh", 9)), 429, "most_pending_per_script")
            assert (await client.hand_over(handover("b.sh", 9))).status == 202
            after = await client.sample("mediator_requests_rejected_total", **CROWDED)
            assert after == before + 1
            assert (await client.post(f"/v1/deliveries/{waiting}/cancel")).status == 200
            await eventually(
                lambda: client.hand_over(handover("a.sh", 9)), until=lambda a: a.status == 202
            )


async def test_intake_stops_before_the_disk_is_full_and_what_is_kept_goes_on(
    tmp_path: Path,
) -> None:
    store = {"url": "sqlite:///disk/mediator.db", "disk_floor": "8MiB"}
    mediator = gated(tmp_path, **store)
    mediator.script("ok.sh", OK)
    with small_disk(mediator.home / "disk", room=16 * MIB), mediator:
        async with Client(mediator.url) as client:
            kept = await one_runs_and_wait(client, "a.sh")
            fill = mediator.home / "disk" / "fill"
            fill.write_bytes(bytes(10 * MIB))
            await eventually(
                lambda: client.sample("mediator_store_free_bytes"),
                until=lambda free: free < 8 * MIB,
            )
            refused(await client.hand_over(handover("ok.sh", 1)), 503, "store.disk_floor")
            ready = await client.get("/readyz", token=None)
            assert ready.status == 503
            assert set(ready.json()["problems"]) == {"disk"}
            (tmp_path / "gate").touch()
            for delivery in kept:
                await client.until(delivery, "succeeded")
            fill.unlink()
            await eventually(
                lambda: client.hand_over(handover("ok.sh", 2)), until=lambda a: a.status == 202
            )
            assert (await client.get("/readyz", token=None)).status == 200


async def test_an_event_for_which_there_is_room_only_in_part_is_not_kept_at_all(
    tmp_path: Path,
) -> None:
    mediator = gated(tmp_path, most_pending=2)
    routes = "routes: [{scripts: [a.sh, b.sh]}]\n"
    mediator.config.write_text(mediator.config.read_text() + routes)
    body = b"<ticket_info><id>70</id></ticket_info>"
    event = Handover(path="/v1/events", body=body, idempotency_key="event-70")
    with mediator:
        async with Client(mediator.url) as client:
            await one_runs_and_wait(client, "a.sh")
            refused(await client.hand_over(event), 503, "store.most_pending ")
            assert (await client.get("/v1/deliveries?ticket=70")).json()["items"] == []
            (tmp_path / "gate").touch()
            taken = await eventually(
                lambda: client.hand_over(event), until=lambda answer: answer.status == 202
            )
    assert [delivery["script"] for delivery in taken.json()["deliveries"]] == ["a.sh", "b.sh"]
