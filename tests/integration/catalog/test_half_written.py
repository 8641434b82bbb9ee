"""A file that is being written is never offered, and its deliveries wait."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mediator.catalog.files import Debounce
from mediator.catalog.loader import ScriptLoader, ScriptsDirectory
from tests.support.catalog import SHELL, live, put, settings_in
from tests.support.conditions import eventually

pytestmark = pytest.mark.usefixtures("no_task_left")
LONG = "#!/bin/sh\n" + "true\n" * 40


async def test_a_slow_copy_is_offered_only_when_it_is_whole(tmp_path: Path, scripts: Path) -> None:
    path = put(scripts, "a.sh")
    async with live(tmp_path) as there:
        before = there.script("a.sh")
        assert before is not None
        with path.open("w") as file:
            for line in LONG.splitlines(keepends=True):
                file.write(line)
                file.flush()
                await there.scripts.look()
                seen = there.script("a.sh")
                assert seen is not None
                assert not seen.ready
                assert seen.takes_deliveries
                assert seen.problem.startswith("a new version of it is being written")
                assert not before.unchanged()
        script = await there.until_ready("a.sh", LONG)
        assert script.unchanged()


async def test_a_copy_that_stalls_is_not_offered_while_it_is_open(
    tmp_path: Path, scripts: Path
) -> None:
    path = put(scripts, "a.sh")
    async with live(tmp_path) as there:
        with path.open("w") as file:
            file.write(SHELL)
            file.flush()
            await there.until_problem("a.sh", "being written")
            quiet = path.stat().st_mtime_ns
            for _ in range(3):
                await there.scripts.look()
            script = there.script("a.sh")
            assert script is not None
            assert not script.ready
            assert path.stat().st_mtime_ns == quiet
        await there.until_ready("a.sh")


async def test_an_empty_file_in_place_of_a_good_one_breaks_it_with_the_reason(
    tmp_path: Path, scripts: Path
) -> None:
    path = put(scripts, "a.sh")
    async with live(tmp_path) as there:
        path.write_text("")
        script = await there.until_problem("a.sh", "it is empty")
        assert not script.takes_deliveries
        assert there.told[-1].broke == ("a.sh",)
        path.write_text(SHELL)
        await there.until_ready("a.sh")
        assert there.told[-1].mended == ("a.sh",)


async def test_a_file_that_is_only_touched_is_the_same_script(
    tmp_path: Path, scripts: Path
) -> None:
    path = put(scripts, "a.sh")
    async with live(tmp_path) as there:
        before = there.script("a.sh")
        assert before is not None
        path.touch()
        await there.until(lambda: (now := there.script("a.sh")) and now.ready and now.unchanged())
        now = there.script("a.sh")
        assert now is not None
        assert now.sha256 == before.sha256
        assert not any(changes.changed or changes.broke for changes in there.told)


async def test_a_script_that_is_removed_and_written_anew_is_not_gone_meanwhile(
    tmp_path: Path, scripts: Path
) -> None:
    path = put(scripts, "a.sh")
    async with live(tmp_path) as there:
        path.unlink()
        await there.scripts.look()
        script = there.script("a.sh")
        assert script is not None
        assert script.takes_deliveries
        put(scripts, "a.sh", LONG)
        await there.until_ready("a.sh", LONG)
        assert not any(changes.removed for changes in there.told)


async def test_a_broken_script_stays_broken_while_it_is_written(
    tmp_path: Path, scripts: Path
) -> None:
    path = put(scripts, "a.sh", "#!/no/such\n")
    async with live(tmp_path) as there:
        await there.until_problem("a.sh", "/no/such")
        path.write_text("#!/no/such\n# longer\n")
        await there.scripts.look()
        script = there.script("a.sh")
        assert script is not None
        assert "/no/such" in script.problem
        assert not script.takes_deliveries


async def test_the_policy_file_belongs_to_the_version(tmp_path: Path, scripts: Path) -> None:
    put(scripts, "a.sh")
    async with live(tmp_path) as there:
        before = there.script("a.sh")
        assert before is not None
        put(scripts, "a.sh.toml", 'timeout = "7s"\n', mode=0o644)
        assert not before.unchanged()


def test_a_version_that_changes_while_it_is_read_is_not_taken(
    tmp_path: Path, scripts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(scripts, "a.sh")
    loader = ScriptLoader(ScriptsDirectory(settings=settings_in(tmp_path)), Debounce(quiet=0))
    real = os.fstat

    def touching(descriptor: int) -> os.stat_result:
        path.touch()
        return real(descriptor)

    monkeypatch.setattr(os, "fstat", touching)
    found = loader.scan()
    assert found.incomplete
    assert found.catalog.scripts == {}
    monkeypatch.undo()
    assert loader.scan().catalog.scripts["a.sh"].ready


async def test_a_new_script_is_there_when_it_is_whole(tmp_path: Path, scripts: Path) -> None:
    async with live(tmp_path) as there:
        with (scripts / "a.sh").open("w") as file:
            os.fchmod(file.fileno(), 0o755)
            file.write("#!/bin/sh\n")
            file.flush()
            await there.scripts.look()
            assert there.names == []

        async def ready() -> bool:
            script = there.script("a.sh")
            return script is not None and script.ready

        await eventually(ready)
