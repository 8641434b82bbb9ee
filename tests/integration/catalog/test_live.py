"""Every way in which scripts arrive is noticed without a restart."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.catalog import PYTHON, SHELL, live, put

pytestmark = pytest.mark.usefixtures("no_task_left")
SECOND = "#!/bin/sh\necho second\n"


async def test_a_file_renamed_into_place(tmp_path: Path, scripts: Path) -> None:
    async with live(tmp_path) as there:
        put(scripts, "a.sh")
        await there.until_ready("a.sh")
        put(scripts, "a.sh", SECOND)
        await there.until(lambda: _sha(there.script("a.sh")) == _digest(SECOND))


async def test_a_file_that_an_editor_replaces_and_keeps_a_backup_of(
    tmp_path: Path, scripts: Path
) -> None:
    path = put(scripts, "a.sh")
    async with live(tmp_path) as there:
        path.rename(scripts / "a.sh~")
        path.write_text(SECOND)
        path.chmod(0o755)
        await there.until(lambda: _sha(there.script("a.sh")) == _digest(SECOND))
        assert there.names == ["a.sh"]


async def test_a_file_written_over_in_place(tmp_path: Path, scripts: Path) -> None:
    path = put(scripts, "a.sh")
    async with live(tmp_path) as there:
        path.write_text(SECOND)
        await there.until(lambda: _sha(there.script("a.sh")) == _digest(SECOND))


async def test_a_file_made_executable(tmp_path: Path, scripts: Path) -> None:
    path = put(scripts, "a.sh", mode=0o644)
    async with live(tmp_path) as there:
        await there.until_problem("a.sh", "it is not executable")
        path.chmod(0o755)
        await there.until_ready("a.sh")


async def test_a_file_that_goes(tmp_path: Path, scripts: Path) -> None:
    put(scripts, "a.sh")
    put(scripts, "b.sh").touch()
    async with live(tmp_path) as there:
        (scripts / "a.sh").unlink()
        await there.until(lambda: there.names == ["b.sh"])
        assert any(changes.removed == ("a.sh",) for changes in there.told)


async def test_a_policy_file_that_comes_changes_and_goes(tmp_path: Path, scripts: Path) -> None:
    put(scripts, "a.sh")

    async with live(tmp_path) as there:

        def seconds() -> float:
            script = there.script("a.sh")
            assert script is not None
            return script.policy.timeout.total_seconds()

        usual = seconds()
        put(scripts, "a.sh.toml", 'timeout = "7s"\n', mode=0o644)
        await there.until(lambda: seconds() == 7)
        put(scripts, "a.sh.toml", 'timeout = "8s"\n', mode=0o644)
        await there.until(lambda: seconds() == 8)
        (scripts / "a.sh.toml").unlink()
        await there.until(lambda: seconds() == usual)


async def test_git_pull(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    _git(tmp_path, "init", "-q", "-b", "main", str(origin))
    put(origin, "a.sh")
    put(origin, "gone.sh")
    _commit(origin)
    _git(tmp_path, "clone", "-q", str(origin), "scripts")
    async with live(tmp_path) as there:
        await there.until(lambda: there.names == ["a.sh", "gone.sh"])
        put(origin, "a.sh", SECOND)
        put(origin, "b.py", PYTHON)
        (origin / "gone.sh").unlink()
        _commit(origin)
        _git(tmp_path / "scripts", "pull", "-q")
        await there.until(lambda: there.names == ["a.sh", "b.py"])
        await there.until(lambda: _sha(there.script("a.sh")) == _digest(SECOND))
        await there.until_ready("b.py")


async def test_rsync(tmp_path: Path, scripts: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    path = put(source, "a.sh", SECOND)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    put(scripts, "a.sh")
    async with live(tmp_path) as there:
        _rsync(source, scripts)
        await there.until(lambda: _sha(there.script("a.sh")) == _digest(SECOND))
        assert (scripts / "a.sh").stat().st_mtime == 1_000_000_000


async def test_the_switch_of_a_config_map(tmp_path: Path, scripts: Path) -> None:
    _volume(scripts, "..1", SHELL)
    (scripts / "a.sh").symlink_to("..data/a.sh")
    async with live(tmp_path) as there:
        await there.until_ready("a.sh")
        _volume(scripts, "..2", SECOND)
        shutil.rmtree(scripts / "..1")
        await there.until(lambda: _sha(there.script("a.sh")) == _digest(SECOND))
        _volume(scripts, "..3", "#!/no/such\n")
        await there.until_problem("a.sh", "/no/such does not exist")


async def test_a_link_whose_target_in_a_subdirectory_is_written_over(
    tmp_path: Path, scripts: Path
) -> None:
    (scripts / "versions").mkdir()
    target = put(scripts / "versions", "a.sh")
    (scripts / "a.sh").symlink_to("versions/a.sh")
    async with live(tmp_path) as there:
        target.write_text(SECOND)
        await there.until(lambda: _sha(there.script("a.sh")) == _digest(SECOND))


async def test_a_directory_that_is_a_link_and_leads_elsewhere(tmp_path: Path) -> None:
    for release, text in (("1", SHELL), ("2", SECOND)):
        (tmp_path / release).mkdir()
        put(tmp_path / release, "a.sh", text)
    (tmp_path / "scripts").symlink_to("1")
    async with live(tmp_path) as there:
        (tmp_path / "next").symlink_to("2")
        (tmp_path / "next").rename(tmp_path / "scripts")
        await there.until(lambda: _sha(there.script("a.sh")) == _digest(SECOND))
        (tmp_path / "2" / "a.sh").write_text(SHELL)
        await there.until(lambda: _sha(there.script("a.sh")) == _digest(SHELL))


async def test_a_mount_over_the_directory(tmp_path: Path, scripts: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    put(other, "mounted.sh")
    async with live(tmp_path) as there:
        if not _ran("mount", "--bind", str(other), str(scripts)):
            pytest.skip("this user may not mount")
        try:
            await there.until_ready("mounted.sh")
        finally:
            assert _ran("umount", "--lazy", str(scripts))
        await there.until(lambda: there.names == [])


async def test_polling_sees_what_the_kernel_does_not_tell(tmp_path: Path, scripts: Path) -> None:
    async with live(tmp_path, scripts={"watch": "poll", "poll_every": "50ms"}) as there:
        path = put(scripts, "a.sh")
        await there.until_ready("a.sh")
        path.write_text(SECOND)
        await there.until(lambda: _sha(there.script("a.sh")) == _digest(SECOND))


async def test_without_watching_only_a_reload_looks(tmp_path: Path, scripts: Path) -> None:
    async with live(tmp_path, scripts={"watch": "never"}) as there:
        put(scripts, "a.sh")
        await there.scripts.reload()
        await there.until_ready("a.sh")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _sha(script: object) -> str:
    return getattr(script, "sha256", "") if getattr(script, "ready", False) else ""


def _git(directory: Path, *arguments: str) -> None:
    who = ["-c", "user.name=tests", "-c", "user.email=tests@example.org", "-c", "safe.directory=*"]
    subprocess.run(["git", *who, *arguments], cwd=directory, check=True, capture_output=True)


def _commit(directory: Path) -> None:
    _git(directory, "add", "-A")
    _git(directory, "commit", "-q", "-m", "change")


def _ran(*command: str) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _rsync(source: Path, target: Path) -> None:
    """`rsync -a`, or what it does: a hidden copy with the old times, renamed into place."""
    if shutil.which("rsync"):
        subprocess.run(["rsync", "-a", f"{source}/", f"{target}/"], check=True)
        return
    for path in source.iterdir():
        hidden = target / f".{path.name}.Xq3abc"
        shutil.copy2(path, hidden)
        hidden.rename(target / path.name)


def _volume(volume: Path, stamp: str, text: str) -> None:
    """One version of a ConfigMap's volume, as the kubelet swaps it in."""
    (volume / stamp).mkdir()
    put(volume / stamp, "a.sh", text)
    (volume / "..data_tmp").symlink_to(stamp)
    (volume / "..data_tmp").rename(volume / "..data")
