"""The warm parents: interpreters that have imported what scripts need, kept ready to be forked.

Nobody waits for one. A run that finds none ready is started in the ordinary way, and has one
started for those that come after it. So a parent that crashes, hangs or cannot be had costs time
and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from contextvars import Context
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from mediator.runners.attempt import Attempt
from mediator.runners.launcher_client import Launcher, LauncherFailed
from mediator.runners.port import Run, Warm
from mediator.runners.process import ProcessRunner

_PROGRAM = Path(__file__).with_name("warm_importlib_bootstrap.py")
_CHANGING = ("SCW_", "MEDIATOR_", "TRACEPARENT", "TRACESTATE")
"""Beginnings of the names of variables that differ from attempt to attempt."""
_IDLE = 600.0
"""Seconds after which a parent that nobody needed is ended."""
_MOST = 16
"""Parents at the same time; the one that was not needed for longest gives way."""
_STEADY = 60.0
"""Seconds of life after which a parent's death counts as its first."""
_PAUSE, _LONGEST_PAUSE = 5.0, 600.0
_log = structlog.get_logger(__name__)

Watched = tuple[str, int, int, int]
"""A path, and its modification time (ns), size and inode."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """What runs must have in common to be forks of one parent."""

    command: tuple[str, ...]
    directory: str
    """that of the script, without links: the first that it imports from"""
    preload: tuple[str, ...]
    environment: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, warm: Warm, environment: Mapping[str, str]) -> Kind:
        """That of the attempts of one script, which have this environment."""
        return cls(
            command=warm.command,
            directory=os.path.dirname(os.path.realpath(warm.script)),  # noqa: PTH120
            preload=warm.preload,
            environment=frozenset(_lasting(environment)),
        )


def _lasting(environment: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    return (pair for pair in environment.items() if not pair[0].startswith(_CHANGING))


class Parent:
    """One process, from its start to the end of its last attempt."""

    def __init__(self, kind: Kind) -> None:
        self.launcher = Launcher(self._spawn)
        self.attempts = 0
        """that are its forks and have not ended"""
        self.began = asyncio.get_running_loop().time()
        self._kind = kind
        self._answer: int | None = None
        self._watched: list[Watched] = []

    async def start(self) -> str:
        """Start it and wait until it can be forked; otherwise why that will not be."""
        try:
            await self.launcher.start()
        except (LauncherFailed, OSError) as error:
            return self._read() or str(error)
        finally:
            problem = self._read()
            self._forget_answer()
        return problem

    def out_of_date(self) -> bool:
        """Whether it is dead, or something it was made of has changed (about 100 stat(2))."""
        return self.launcher.pid is None or any(_changed(*watched) for watched in self._watched)

    def _read(self) -> str:
        if self._answer is None:
            return ""
        content = os.pread(self._answer, os.fstat(self._answer).st_size, 0)
        try:
            answer: dict[str, Any] = json.loads(content)
        except ValueError:  # it died while it wrote
            return ""
        self._watched = [tuple(entry) for entry in answer.get("watch", ())]
        return str(answer.get("problem", ""))

    def _forget_answer(self) -> None:
        if self._answer is not None:
            os.close(self._answer)
            self._answer = None

    def _spawn(self, control: int) -> subprocess.Popen[bytes]:
        """Start the process, with pipes as a script has them; see `warm_parent.py`."""
        self._forget_answer()
        self._answer = os.memfd_create("mediator-warm", os.MFD_CLOEXEC)
        os.write(self._answer, self._order())
        with contextlib.ExitStack() as stack:
            (stdin, feed), (stdout, out), (stderr, err) = (_pipe(stack) for _ in range(3))
            os.write(feed, b"\0")  # so that it shows when somebody reads it
            mine = (control, self._answer, stdout, stderr)
            return subprocess.Popen(  # noqa: S603 -- the interpreter of the scripts
                [*self._kind.command, str(_PROGRAM), *map(str, mine)],
                stdin=stdin,
                stdout=out,
                stderr=err,
                pass_fds=mine,
                env=dict(self._kind.environment),
                cwd="/",
                start_new_session=True,
            )

    def _order(self) -> bytes:
        kind = self._kind
        command = [os.fsencode(word).decode("latin-1") for word in kind.command]
        order = {"command": command, "directory": kind.directory, "preload": kind.preload}
        return json.dumps(order).encode()


def _pipe(stack: contextlib.ExitStack) -> tuple[int, int]:
    ends = os.pipe()
    for end in ends:
        stack.callback(os.close, end)
    return ends


def _changed(path: str, modified: int, size: int, inode: int) -> bool:
    try:
        found = os.stat(path)  # noqa: PTH116 -- there are many
    except OSError:
        return True
    same_size = size in (0, found.st_size)
    return (found.st_mtime_ns, found.st_ino) != (modified, inode) or not same_size


@dataclass(kw_only=True, slots=True)
class _Place:
    """Of one kind: the parent, if there is one, and how the attempts to have one went."""

    parent: Parent | None = None
    starting: asyncio.Task[None] | None = None
    problem: str = ""
    """why there is none; empty: there is one, or will be"""
    failures: int = 0
    not_before: float = 0.0
    """when the next one may be started, in the loop's time"""
    needed: float = 0.0

    @property
    def state(self) -> str:
        """One of starting, ready and failed; empty: there is none, and nothing is wrong."""
        if self.parent is not None:
            return "ready"
        if self.starting is not None:
            return "starting"
        return "failed" if self.problem else ""


@dataclass(slots=True)
class Parents:
    """Every warm parent of one runner."""

    _places: dict[Kind, _Place] = field(default_factory=dict)
    _lent: dict[Launcher, Parent] = field(default_factory=dict)
    _ending: set[asyncio.Task[None]] = field(default_factory=set)
    _tidying: asyncio.TimerHandle | None = None

    def lend(self, kind: Kind) -> Launcher | None:
        """What forks such a run; None when there is none now. `returned` must follow."""
        parent = self._ready(kind)
        if parent is None:
            return None
        parent.attempts += 1
        self._lent[parent.launcher] = parent
        return parent.launcher

    def lent(self, launcher: Launcher) -> bool:
        """Whether it is that of a warm parent."""
        return launcher in self._lent

    def returned(self, launcher: Launcher) -> None:
        """One of its attempts has ended."""
        parent = self._lent.get(launcher)
        if parent is None:
            return
        parent.attempts -= 1
        if parent.attempts == 0:
            del self._lent[launcher]
            if all(place.parent is not parent for place in self._places.values()):
                self._end(parent)

    def want(self, kind: Kind) -> None:
        """Have one got ready for the runs to come."""
        self._ready(kind)

    async def prepare(self, kind: Kind) -> str:
        """Wait until there is one to fork; why there is none, one sentence, or nothing."""
        place = self._place(kind)
        if self._ready(kind) is None and place.starting is not None:
            await asyncio.wait({place.starting})
        return place.problem

    def count(self, state: str) -> int:
        """How many are in this state: starting, ready or failed. Any thread may ask."""
        return sum(place.state == state for place in list(self._places.values()))

    async def close(self) -> None:
        """End them all. No attempt may be running."""
        if self._tidying is not None:
            self._tidying.cancel()
        for place in self._places.values():
            self._empty(place)
        self._places.clear()
        while self._ending:
            await asyncio.wait(self._ending)

    def _ready(self, kind: Kind) -> Parent | None:
        place = self._place(kind)
        parent = place.parent
        if parent is not None and parent.out_of_date():
            self._lose(kind, place, parent)
        if place.parent is None:
            self._start(kind, place)
        return place.parent

    def _place(self, kind: Kind) -> _Place:
        place = self._places.setdefault(kind, _Place())
        place.needed = _now()
        return place

    def _start(self, kind: Kind, place: _Place) -> None:
        if place.starting is not None or _now() < place.not_before:
            return
        self._make_room()
        # For all its forks: its log lines are not those of the attempt that it is started in.
        starting = asyncio.create_task(
            self._try(kind, place), name="start a warm parent", context=Context()
        )
        place.starting = starting
        self._ending.add(starting)
        starting.add_done_callback(self._ending.discard)
        if self._tidying is None:
            self._tidying = asyncio.get_running_loop().call_later(_IDLE / 2, self._tidy)

    async def _try(self, kind: Kind, place: _Place) -> None:
        parent = Parent(kind)
        try:
            problem = await parent.start()
        finally:
            place.starting = None
        if problem:
            self._fail(place, pause=_PAUSE * 2**place.failures)
            if problem != place.problem:
                _log.warning("scripts are not kept warm", **_told(kind), reason=problem)
        else:
            place.parent = parent
            _log.info("warm parent ready", **_told(kind), pid=parent.launcher.pid)
        place.problem = problem

    def _lose(self, kind: Kind, place: _Place, parent: Parent) -> None:
        if parent.launcher.pid is not None:
            _log.info("warm parent replaced", **_told(kind), reason="something in it has changed")
        elif _now() - parent.began > _STEADY:
            place.failures = 0
        else:  # the first death is an accident, and costs no pause
            self._fail(place, pause=_PAUSE * 2**place.failures if place.failures else 0.0)
        self._empty(place)

    def _fail(self, place: _Place, *, pause: float) -> None:
        place.failures = min(place.failures + 1, 10)
        place.not_before = _now() + min(pause, _LONGEST_PAUSE)

    def _empty(self, place: _Place) -> None:
        if place.starting is not None:
            place.starting.cancel()
        if place.parent is not None:
            parent, place.parent = place.parent, None
            self._end(parent)

    def _end(self, parent: Parent) -> None:
        """End it unless it has attempts: then `returned` calls this again."""
        if parent.attempts == 0:
            ending = asyncio.create_task(
                parent.launcher.close(), name="end a warm parent", context=Context()
            )
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    def _make_room(self) -> None:
        taken = [place for place in self._places.values() if place.parent is not None]
        if len(taken) >= _MOST:
            self._empty(min(taken, key=lambda place: place.needed))

    def _tidy(self) -> None:
        long_ago = _now() - _IDLE
        for kind, place in list(self._places.items()):
            attempts = 0 if place.parent is None else place.parent.attempts
            if place.needed < long_ago and not attempts and place.starting is None:
                self._empty(place)
                del self._places[kind]
        self._tidying = asyncio.get_running_loop().call_later(_IDLE / 2, self._tidy)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _told(kind: Kind) -> dict[str, object]:
    return {"interpreter": " ".join(kind.command), "preload": list(kind.preload)}


# The warm runner: an attempt is a fork of an interpreter that has its modules imported already.


class WarmRunner(ProcessRunner):
    """Runs each attempt as a fork where that is asked for and possible, else as a process."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._parents = Parents()

    def keep_warm(self, warm: Warm, environment: Mapping[str, str]) -> None:
        """Get ready, in the background, to fork what runs in this environment."""
        if self._open:
            self._parents.want(Kind.of(warm, environment))

    async def warm_up(self, run: Run) -> str:
        """Get ready to fork such a run, and wait. Why it cannot be, one sentence, or nothing."""
        if run.warm is None:
            return ""
        return await self._parents.prepare(Kind.of(run.warm, run.environment))

    def parents(self, state: str) -> int:
        """How many interpreters to fork from are in this state: starting, ready or failed."""
        return self._parents.count(state)

    async def close(self) -> None:
        """Kill what still runs, end what it was forked from, and remove every directory."""
        await super().close()
        await self._parents.close()

    def _choose(self, run: Run) -> Launcher:
        if run.warm is None:
            return super()._choose(run)
        kind = Kind.of(run.warm, run.environment)
        return self._parents.lend(kind) or super()._choose(run)

    def _done(self, launcher: Launcher) -> None:
        self._parents.returned(launcher)

    async def _launch(self, run: Run, directory: Path, launcher: Launcher) -> Attempt:
        try:
            return await super()._launch(run, directory, launcher)
        except (LauncherFailed, ConnectionError):
            if not self._parents.lent(launcher):
                raise
        return await super()._launch(run, directory, super()._choose(run))
