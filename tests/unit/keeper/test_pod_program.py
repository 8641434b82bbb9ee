"""The program that runs in the pod, here run by bash in a directory."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from mediator.keeper import protocol
from mediator.keeper.protocol import Drift, PodError, PodFile, difference, program

BASH = shutil.which("bash") or "bash"
FILES = (
    PodFile(name="securechange-shim", data="#!/bin/bash\n# h\xe9\n".encode(), mode=0o755),
    PodFile(name="two words.sh", data=b"line\nlook x\nend\n\n", mode=0o755),
    PodFile(name="-odd", data=b"\xff\xfe\\ \t", mode=0o644),
    PodFile(name="securechange-shim.key", data=b"k" * 40, mode=0o600),
    PodFile(name="empty", data=b"", mode=0o644),
)


def pod(directory: Path, asked: bytes, *, path: str | None = None) -> bytes:
    return subprocess.run(
        [BASH, "-s", "--", str(directory)],
        input=program() + asked,
        env={"PATH": path} if path is not None else None,
        capture_output=True,
        check=False,
        timeout=60,
    ).stdout


def put(directory: Path) -> None:
    answer = pod(directory, protocol.install(FILES))
    assert protocol.read_install(answer, FILES) == ("",) * len(FILES)


def only(tmp_path: Path, *commands: str) -> str:
    """A PATH with these commands alone."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for command in commands:
        found = shutil.which(command)
        assert found is not None
        (tools / command).symlink_to(found)
    return str(tools)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "scripts"
    made.mkdir()
    return made


def test_what_was_installed_is_there_byte_for_byte_with_its_mode(directory: Path) -> None:
    put(directory)
    for file in FILES:
        path = directory / file.name
        assert path.read_bytes() == file.data
        assert path.stat().st_mode & 0o7777 == file.mode
    assert len(list(directory.iterdir())) == len(FILES)


def test_what_was_installed_does_not_differ(directory: Path) -> None:
    absent = protocol.read_look(pod(directory, protocol.look(FILES)), FILES)
    assert all(seen.absent for seen in absent.seen)
    put(directory)
    looked = protocol.read_look(pod(directory, protocol.look(FILES)), FILES)
    assert looked.tools == {"sha256sum", "stat", "chmod", "mv"}
    assert [difference(file, seen) for file, seen in zip(FILES, looked.seen, strict=True)] == [
        None
    ] * len(FILES)


def test_every_kind_of_drift_is_seen(directory: Path) -> None:
    put(directory)
    shim, words, odd, key, empty = (directory / file.name for file in FILES)
    shim.write_bytes(FILES[0].data + b" ")
    words.chmod(0o644)
    odd.unlink()
    key.rename(directory / "elsewhere")
    key.symlink_to("elsewhere")
    empty.unlink()
    empty.mkdir()
    looked = protocol.read_look(pod(directory, protocol.look(FILES)), FILES)
    found = [difference(file, seen) for file, seen in zip(FILES, looked.seen, strict=True)]
    assert [one and one.drift for one in found] == [
        Drift.CONTENT,
        Drift.MODE,
        Drift.MISSING,
        Drift.OTHER,
        Drift.OTHER,
    ]


def test_without_any_command_contents_are_compared(directory: Path, tmp_path: Path) -> None:
    put(directory)
    (directory / FILES[0].name).write_bytes(FILES[0].data + b"\0")  # bash would drop it
    (directory / FILES[3].name).write_bytes(b"x" * 40)
    looked = protocol.read_look(pod(directory, protocol.look(FILES), path=""), FILES)
    assert looked.tools == frozenset()
    assert all(seen.digest is None and seen.mode is None for seen in looked.seen)
    answer = pod(directory, protocol.compare(FILES), path=only(tmp_path))
    assert protocol.read_compare(answer, FILES) == (False, True, True, False, True)


def test_a_file_that_is_missing_differs(directory: Path) -> None:
    answer = pod(directory, protocol.compare(FILES[-1:]))
    assert protocol.read_compare(answer, FILES[-1:]) == (False,)


def test_what_cannot_be_made_runnable_leaves_nothing_behind(
    directory: Path, tmp_path: Path
) -> None:
    answer = pod(directory, protocol.install(FILES[:1]), path=only(tmp_path, "mv", "rm"))
    (said,) = protocol.read_install(answer, FILES[:1])
    assert "chmod: command not found" in said
    assert list(directory.iterdir()) == []


def test_a_key_is_readable_to_nobody_else_even_before_it_has_its_mode(
    directory: Path, tmp_path: Path
) -> None:
    path = only(tmp_path, "mv")
    (Path(path) / "chmod").symlink_to(shutil.which("true") or "")
    pod(directory, protocol.install(FILES[3:4]), path=path)
    assert (directory / FILES[3].name).stat().st_mode & 0o777 == 0o600


def test_what_one_that_was_killed_left_half_written_is_removed(directory: Path) -> None:
    (directory / ".securechange-shim.key.keeper-7").write_bytes(b"k" * 20)
    put(directory)
    assert {path.name for path in directory.iterdir()} == {file.name for file in FILES}


def test_a_directory_in_the_way_is_named_and_left(directory: Path) -> None:
    (directory / FILES[0].name).mkdir()
    answer = pod(directory, protocol.install(FILES[:2]))
    assert protocol.read_install(answer, FILES[:2]) == ("there is a directory of that name", "")
    assert list((directory / FILES[0].name).iterdir()) == []


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    answer = pod(tmp_path / "nowhere", protocol.look(FILES))
    with pytest.raises(PodError, match=r"there is no directory .*nowhere"):
        protocol.read_look(answer, FILES)


def test_input_that_was_cut_off_writes_nothing(directory: Path) -> None:
    asked = protocol.install(FILES[:1])
    answer = pod(directory, asked[: len(asked) - len(b"end\n") - 1])
    with pytest.raises(PodError, match="cut off"):
        protocol.read_install(answer, FILES[:1])
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize(
    "answer",
    [b"", b"tools\nabsent\n", b"tools\nbye\n", b"hello\nabsent\nbye\n", b"tools\nwhat\nbye\n"],
    ids=repr,
)
def test_an_answer_that_is_none_is_refused(answer: bytes) -> None:
    with pytest.raises(PodError):
        protocol.read_look(answer, FILES[:1])
