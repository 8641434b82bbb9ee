"""The processes of a mediator: which is what, and whether one of them is still alive."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_LAUNCHER, _WARM, _SUPERVISOR = "launcher.py", "warm_importlib_bootstrap.py", "mediator-superv"


def launchers(pid: int) -> list[psutil.Process]:
    """What starts the processes of a mediator's attempts."""
    return [child for child in _children(pid) if _runs(child, _LAUNCHER)]


def warm_parents(pid: int) -> list[psutil.Process]:
    """What forks them."""
    return [child for child in _children(pid) if _runs(child, _WARM)]


def supervisors(pid: int) -> list[psutil.Process]:
    """What watches over them; those that have an attempt now, if there are any."""
    found = [
        child
        for parent in (*launchers(pid), *warm_parents(pid))
        for child in _children(parent.pid)
        if _name(child) == _SUPERVISOR
    ]
    busy = [one for one in found if any(_works(child) for child in _children(one.pid))]
    return busy or found


def _children(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).children()
    return []


def _runs(process: psutil.Process, program: str) -> bool:
    with contextlib.suppress(psutil.Error):
        return any(word.endswith(program) for word in process.cmdline())
    return False


def _name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return str(process.name())
    return ""


def _works(process: psutil.Process) -> bool:
    """Whether it is a script: what waits for one has the name of its supervisor still."""
    return _name(process) not in {"", _SUPERVISOR}


@dataclass(slots=True)
class Witness:
    """Remembers processes that must not outlive the world they were seen in."""

    mark: str
    """a text in the environment of every script"""
    _seen: set[psutil.Process] = field(default_factory=set)

    def look(self, pid: int) -> None:
        """Remember a mediator, and all below it."""
        with contextlib.suppress(psutil.Error):
            daemon = psutil.Process(pid)
            self._seen |= {daemon, *daemon.children(recursive=True)}

    def alive(self) -> list[str]:
        """Those that are, and every script that anybody left."""
        with_mark = {int(pid) for pid in self._marked()}
        seen = {one.pid for one in self._seen if _lives(one)}
        return [f"{pid} ({_told(pid)})" for pid in sorted(seen | with_mark)]

    def _marked(self) -> Iterator[str]:
        for process in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if process.name.isdigit() and self.mark in _environment(process):
                    yield process.name


def _environment(process: Path) -> str:
    return (process / "environ").read_bytes().decode("utf-8", "replace")


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):  # a zombie is dead, whether somebody reaps it or not
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _told(pid: int) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(psutil.Process(pid).cmdline())
    return "gone by now"
