"""The store cannot be written: callers are told to try again, nothing is half kept, and it heals.

Real trouble: a disk that is full (a small file system where the tests may mount one, and a limit
on the size of files everywhere), and another process that has locked the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.support.conditions import eventually
from tests.support.mediator import Client, Handover, Mediator
from tests.support.scripts import OK

Break = Callable[[Mediator], AbstractContextManager[None]]
SMALL = {"store": {"url": "sqlite:///disk/mediator.db", "disk_floor": 0}}
ROOM = 3 * 2**20
"""Bytes of the small file system."""


@contextmanager
def small_disk(at: Path, *, room: int = ROOM) -> Iterator[None]:
    """A file system of `room` bytes, or skip where none may be mounted."""
    at.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(at)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


@contextmanager
def full_disk(mediator: Mediator) -> Iterator[None]:
    fill = mediator.home / "disk" / "fill"
    with fill.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    yield
    fill.unlink()


@contextmanager
def no_larger_files(mediator: Mediator) -> Iterator[None]:
    """Every file of the daemon may grow no further than the log of the database has grown."""
    before = resource.prlimit(mediator.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(mediator.pid, resource.RLIMIT_FSIZE, (64 * 1024, before[1]))
    yield
    resource.prlimit(mediator.pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def locked(mediator: Mediator) -> Iterator[None]:
    connection = sqlite3.connect(mediator.home / "disk" / "mediator.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    yield
    connection.execute("ROLLBACK")
    connection.close()


@pytest.fixture(
    params=[
        pytest.param(full_disk, id="the disk is full"),
        pytest.param(no_larger_files, id="files may not grow"),
        pytest.param(locked, id="the database is locked"),
    ]
)
def trouble(request: pytest.FixtureRequest) -> Break:
    made: Break = request.param
    return made


@pytest.fixture
def mediator(tmp_path: Path, trouble: Break) -> Iterator[Mediator]:
    """Running, with some deliveries in its store."""
    mediator = Mediator(tmp_path, settings=SMALL)
    mediator.script("ok.sh", OK)
    disk = small_disk(tmp_path / "disk") if trouble is full_disk else contextlib.nullcontext()
    with disk, mediator:
        yield mediator


async def test_a_store_that_cannot_be_written_is_told_and_heals(
    mediator: Mediator, trouble: Break
) -> None:
    async with Client(mediator.url) as client:
        before = []
        for n in range(5):
            body = b"<ticket_info>" + b" " * 30_000 + b"</ticket_info>"
            answer = await client.hand_over(Handover(script="ok", arguments=[str(n)], body=body))
            before.append(answer.delivery)
        for delivery in before:
            await client.until(delivery, "succeeded")

        with trouble(mediator):
            refused = await client.hand_over(Handover(script="ok", arguments=["lost"]))
            assert refused.status == 503, refused
            assert int(refused.headers["Retry-After"]) > 0
            assert "store" in refused.detail

            readiness = await client.get("/readyz", token=None)
            assert readiness.status == 503
            assert "store" in readiness.json()["problems"]
            assert (await client.get("/metrics", token=None)).status == 200
            assert (await client.get("/livez", token=None)).status == 200

            hasty = await asyncio.to_thread(
                mediator.shim,
                "ok",
                stdin=b"<ticket_info/>",
                environment={"MEDIATOR_TIMEOUT": "3"},
            )
            assert hasty.returncode == 75, hasty
            assert hasty.stderr.count(b"\n") == 1
            patient = asyncio.create_task(
                asyncio.to_thread(
                    mediator.shim,
                    "ok",
                    "patient",
                    stdin=b"<ticket_info/>",
                    environment={"MEDIATOR_TIMEOUT": "60"},
                )
            )
            assert (await client.hand_over(Handover(script="ok"))).status == 503

        shim = await patient
        assert shim.returncode == 0, shim
        await eventually(
            lambda: client.get("/readyz", token=None), until=lambda answer: answer.status == 200
        )
        after = await client.hand_over(Handover(script="ok", arguments=["after"]))
        assert after.status == 202
        await client.until(after.delivery, "succeeded")
        kept = (await client.get("/v1/deliveries")).json()["items"]
        arguments = sorted(delivery["arguments"] for delivery in kept)
        assert arguments == sorted([[str(n)] for n in range(5)] + [["after"], ["patient"]])
    mediator.terminate()
    check = sqlite3.connect(mediator.home / "disk" / "mediator.db")
    assert check.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    check.close()


async def test_an_attempt_that_ends_meanwhile_is_recorded_afterwards(
    mediator: Mediator, trouble: Break, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    mediator.script("gated.sh", f"#!/bin/sh\nuntil [ -e {gate} ]; do sleep 0.02; done\necho\n")
    async with Client(mediator.url) as client:
        await client.until_scripts("ok.sh")
        mediator.signal(signal.SIGHUP)
        await client.until_scripts("gated.sh")
        for n in range(5):
            body = b"<ticket_info>" + b" " * 30_000 + b"</ticket_info>"
            await client.hand_over(Handover(script="ok", arguments=[str(n)], body=body))
        answer = await client.hand_over(Handover(script="gated"))
        await client.until_running(1)
        with trouble(mediator):
            gate.touch()
            assert (await client.hand_over(Handover(script="ok"))).status == 503
        delivery = await client.until(answer.delivery, "succeeded")
        assert delivery["attempts_made"] == 1


def test_a_disk_that_cannot_be_written_at_the_start_is_named(tmp_path: Path) -> None:
    mediator = Mediator(tmp_path, settings=SMALL)
    with small_disk(tmp_path / "disk"):
        subprocess.run(
            ["mount", "-o", "remount,ro", str(tmp_path / "disk")], check=True, capture_output=True
        )
        ended = mediator.refuse()
    assert ended.returncode == 78
    assert "store.url" in ended.stderr
    assert "Traceback" not in ended.stderr
