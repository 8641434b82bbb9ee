"""The scripts directory itself may go and come back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mediator.catalog.loader import ScanResult, ScriptLoader, ScriptsDirectory
from mediator.errors import NotFound, SettingsError
from tests.support.catalog import Live, live, put, settings_in

pytestmark = pytest.mark.usefixtures("no_task_left")


@pytest.mark.parametrize("watch", ["auto", "poll"])
async def test_its_scripts_are_not_ready_until_it_is_back(
    tmp_path: Path, scripts: Path, watch: str
) -> None:
    put(scripts, "a.sh")
    async with live(tmp_path, scripts={"watch": watch, "poll_every": "50ms"}) as there:
        shutil.rmtree(scripts)
        script = await there.until_problem("a.sh", f"{scripts} does not exist")
        assert not script.takes_deliveries
        with pytest.raises(NotFound, match=r"there is no script 'b\.sh' now: .* does not exist"):
            there.scripts.catalog.find("b.sh")
        scripts.mkdir()
        put(scripts, "b.sh")
        await there.until_ready("b.sh")
        await there.until(lambda: there.names == ["b.sh"])
        assert there.scripts.catalog.problem == ""


async def test_a_directory_that_changes_places_costs_no_delivery(
    tmp_path: Path, scripts: Path
) -> None:
    put(scripts, "a.sh")
    (tmp_path / "next").mkdir()
    put(tmp_path / "next", "a.sh", "#!/bin/sh\necho next\n")
    async with live(tmp_path) as there:
        scripts.rename(tmp_path / "old")
        await there.scripts.look()
        script = there.script("a.sh")
        assert script is not None
        assert script.takes_deliveries
        (tmp_path / "next").rename(scripts)
        await there.until_ready("a.sh", "next")


async def test_without_it_the_start_is_refused(tmp_path: Path, scripts: Path) -> None:
    scripts.rmdir()
    with pytest.raises(SettingsError, match="does not exist"):
        await Live(settings_in(tmp_path)).scripts.start()


class FaultyLoader(ScriptLoader):
    """Has a fault of its own at the scans that are asked of it."""

    faulty = False

    def scan(self) -> ScanResult:
        if self.faulty:
            raise ZeroDivisionError
        return super().scan()


async def test_what_nobody_foresaw_stops_nothing(tmp_path: Path, scripts: Path) -> None:
    put(scripts, "a.sh")
    loader = FaultyLoader(ScriptsDirectory(settings=settings_in(tmp_path)))
    async with live(tmp_path, loader=loader) as there:
        loader.faulty = True
        await there.scripts.look()
        loader.faulty = False
        assert there.names == ["a.sh"]
        put(scripts, "b.sh")
        await there.until_ready("b.sh")
