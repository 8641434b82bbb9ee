from __future__ import annotations

import stat
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mediator.errors import SettingsError
from mediator.runners.workspace import Workspace


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("d1.2", "d1.2-"),
        ("../../etc", ".._.._etc-"),
        ("a/b c\n", "a_b_c_-"),
        ("x" * 999, "x" * 100),
    ],
    ids=["plain", "climbing", "odd", "long"],
)
async def test_a_directory_is_named_after_its_attempt(
    tmp_path: Path, name: str, start: str
) -> None:
    work = Workspace(tmp_path)
    await work.open()
    directory = work.make(name)
    assert directory.name.startswith(start)
    assert directory.parent.parent == tmp_path
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert work.make(name) != directory
    await work.close()
    assert not directory.parent.exists()


async def test_the_place_is_private(tmp_path: Path) -> None:
    work = Workspace(tmp_path / "a" / "b")
    await work.open()
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    await work.close()


async def test_stale_places_go_and_locked_ones_stay(tmp_path: Path) -> None:
    first = Workspace(tmp_path)
    await first.open()
    kept = first.make("kept")
    stale = tmp_path / "runner-stale" / "attempt"
    stale.mkdir(parents=True)
    stale.chmod(0o000)
    second = Workspace(tmp_path)
    await second.open()
    assert kept.exists()
    assert not stale.parent.exists()
    await second.close()
    await first.close()


async def test_a_link_is_not_a_stale_place(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    (precious / "data").mkdir(parents=True)
    base = tmp_path / "base"
    base.mkdir()
    (base / "runner-x").symlink_to(precious)
    work = Workspace(base)
    await work.open()
    assert (precious / "data").exists()
    await work.close()


async def test_a_base_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"Not a directory|File exists"):
        await Workspace(tmp_path / "file").open()


def refuse(path: Path) -> None:
    """In place of the removal of a tree."""
    raise PermissionError(1, "Operation not permitted", str(path))


async def test_rights_are_given_back_from_the_top_but_not_through_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Workspace(tmp_path / "work")
    await work.open()
    outside, inside = tmp_path / "outside", work.make("d1")
    outside.mkdir()
    outside.chmod(0o751)
    (inside / "a" / "b").mkdir(parents=True)
    (inside / "a" / "link").symlink_to(outside)
    for path in (inside / "a" / "b", inside / "a", inside):
        path.chmod(0o000)
    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", refuse)
        await work.remove(inside)
    assert stat.S_IMODE(outside.stat().st_mode) == 0o751
    for path in (inside, inside / "a", inside / "a" / "b"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    await work.close()


async def test_what_cannot_be_removed_is_logged_not_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Workspace(tmp_path)
    await work.open()
    directory = work.make("d1")
    (directory / "file").touch()
    monkeypatch.setattr("shutil.rmtree", refuse)
    with capture_logs() as logs:
        await work.remove(directory)
    assert [entry["event"] for entry in logs] == ["working directory not removed"]
    monkeypatch.undo()
    await work.close()
