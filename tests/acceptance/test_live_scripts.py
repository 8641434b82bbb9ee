"""Scripts come, change and go while the mediator runs, and bring what they depend on."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.support.conditions import eventually
from tests.support.mediator import Client, Handover, Mediator
from tests.support.scripts import OK
from tests.support.wheels import make_wheel

BROKEN = "#!/no/such\n"
TINY = """#!/usr/bin/env python3
# /// script
# dependencies = ["tiny"]
# ///
import tiny, sys
print(tiny.VALUE, *sys.argv[1:])
"""


async def until_problem(client: Client, name: str, words: str) -> None:
    async def problem() -> str:
        return str((await client.get(f"/v1/scripts/{name}")).json()["problem"])

    await eventually(problem, until=lambda seen: words in seen)


async def test_a_new_script_a_new_version_and_its_end(tmp_path: Path) -> None:
    with Mediator(tmp_path) as mediator:
        async with Client(mediator.url) as client:
            for text in ("first", "second"):
                path = mediator.script("a.sh", f"#!/bin/sh\necho {text}\n")
                await until_read(client, path)
                answer = await client.hand_over(Handover(script="a", event="TEST"))
                assert answer.body.decode() == f"{text}\n"
            (mediator.scripts / "a.sh").unlink()

            async def status() -> int:
                return (await client.hand_over(Handover(script="a.sh"))).status

            await eventually(status, until=lambda seen: seen == 404)
            assert await client.sample("mediator_catalog_reloads_total", result="ok") >= 3


async def until_read(client: Client, path: Path) -> None:
    """Once the script that is listed is the one that is there."""
    wanted = hashlib.sha256(path.read_bytes()).hexdigest()

    async def version() -> tuple[bool, str]:
        items = (await client.get("/v1/scripts")).json()["items"]
        return next(
            ((i["ready"], i["sha256"]) for i in items if i["name"] == path.name), (False, "")
        )

    await eventually(version, until=lambda seen: seen == (True, wanted))


async def test_what_was_accepted_waits_while_the_script_is_broken(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    mediator = Mediator(tmp_path, settings={"dispatch": {"slots": 1}})
    mediator.script("slow.sh", f"#!/bin/sh\nwhile [ ! -e {gate} ]; do sleep 0.01; done\n")
    mediator.script("a.sh", OK)
    with mediator:
        async with Client(mediator.url) as client:
            slow = (await client.hand_over(Handover(script="slow"))).delivery
            await client.until(slow, "running")
            waiting = (await client.hand_over(Handover(script="a"))).delivery
            mediator.script("a.sh", BROKEN)
            await until_problem(client, "a.sh", "/no/such does not exist")
            refused = await client.hand_over(Handover(script="a", arguments=["other"]))
            assert refused.status == 409
            assert "/no/such does not exist" in refused.detail
            gate.touch()
            await client.until(slow, "succeeded")
            assert (await client.delivery(waiting))["state"] == "pending"
            mediator.script("a.sh", OK)
            await client.until(waiting, "succeeded")


async def test_a_script_brings_the_packages_it_states(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    settings = {"environments": {"wheels": ["wheels"], "offline": True}}
    mediator = Mediator(tmp_path, settings=settings)
    mediator.script("a.py", TINY)
    with mediator:
        async with Client(mediator.url) as client:
            await until_problem(client, "a.py", "its environment could not be built")
            refused = await client.hand_over(Handover(script="a"))
            assert refused.status == 409
            assert "its environment could not be built" in refused.detail
            ready = (await client.get("/readyz", token=None)).json()
            assert "could not be built" in ready["scripts_not_ready"]["a.py"]
            failed = await client.sample("mediator_environment_builds_total", result="failed")
            assert failed >= 1
            make_wheel(wheels, "tiny", "1.5")
            (mediator.scripts / "a.py").touch()
            await client.until_scripts("a.py")
            answer = await client.hand_over(
                Handover(script="a", event="TEST", arguments=["x y", "z"])
            )
            assert (answer.status, answer.body) == (200, b"1.5 x y z\n")
            shown = (await client.get("/v1/scripts/a.py")).json()
            assert shown["environment"] == "ready"
            assert len(shown["sha256"]) == 64


async def test_what_was_prepared_is_there_at_the_start(tmp_path: Path) -> None:
    make_wheel(tmp_path / "wheels", "tiny")
    settings = {"environments": {"wheels": ["wheels"], "offline": True}}
    mediator = Mediator(tmp_path, settings=settings)
    mediator.script("a.py", TINY)
    checked = mediator.cli("check")
    assert checked.returncode == 0, checked.stdout
    assert "its environment is not built yet" in checked.stdout
    prepared = mediator.cli("prepare", "--prune")
    assert prepared.returncode == 0, prepared.stderr
    assert "a.py" in prepared.stdout
    assert "built" in prepared.stdout
    ran = mediator.cli("run", "a.py", "--ticket", "-", "--", "here", stdin="<ticket_info/>")
    assert (ran.returncode, ran.stdout) == (0, "1.0 here\n")
    with mediator:
        async with Client(mediator.url) as client:
            answer = await client.hand_over(Handover(script="a", event="TEST"))
            assert (answer.status, answer.body) == (200, b"1.0\n")
    assert mediator.events("environment build started") == []
