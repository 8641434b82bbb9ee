"""A backup that is made under load, and the restore that docs/how-to/back-up.md describes."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from tests.support.conditions import eventually
from tests.support.mediator import Client, Handover, Mediator
from tests.support.scripts import OK


async def accepted(client: Client, word: str, number: int) -> str:
    answer = await client.hand_over(Handover(script="ok", arguments=[word, str(number)]))
    assert answer.status == 202, answer
    return answer.delivery


async def test_all_that_was_accepted_before_a_backup_is_there_after_a_restore(
    tmp_path: Path,
) -> None:
    mediator = Mediator(tmp_path / "m")
    mediator.script("ok.sh", OK)
    copy = tmp_path / "copy.db"
    with mediator:
        async with Client(mediator.url) as client:
            before = [await accepted(client, "before", number) for number in range(50)]
            done = asyncio.Event()
            meanwhile: list[str] = []

            async def load() -> None:
                while not done.is_set():
                    meanwhile.append(await accepted(client, "meanwhile", len(meanwhile)))

            loading = asyncio.create_task(load())
            made = await asyncio.to_thread(mediator.cli, "backup", str(copy))
            done.set()
            await loading
            after = await accepted(client, "after", 0)
        assert made.returncode == 0, made.stderr
        assert f"{copy}: a whole copy of " in made.stdout
        assert meanwhile
        mediator.terminate()

        state = mediator.home / "state"
        for name in ("mediator.db", "mediator.db-wal", "mediator.db-shm"):
            (state / name).unlink(missing_ok=True)
        shutil.copyfile(copy, state / "mediator.db")

        mediator.start()
        async with Client(mediator.url) as client:
            for delivery in before:
                await client.until(delivery, "succeeded")
            assert (await client.get(f"/v1/deliveries/{after}")).status == 404
            late = await accepted(client, "late", 0)
            await eventually(
                lambda: client.delivery(late), until=lambda found: found["state"] == "succeeded"
            )


def test_a_backup_that_fails_says_why(tmp_path: Path) -> None:
    mediator = Mediator(tmp_path)
    done = mediator.cli("backup", str(tmp_path / "copy.db"))
    assert done.returncode == 1
    assert "there is no store at" in done.stderr
    assert "Traceback" not in done.stderr
