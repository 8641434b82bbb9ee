"""Warm parents: interpreters that have imported what scripts need, kept ready to be forked.

`Parents` lends one to each run that may be a fork of it. Nobody waits for one: a run that finds
none ready is started in the ordinary way, and has one started for those that come after it. So a
parent that crashes, hangs or cannot be had costs time and nothing else. What runs in such a process
is `warm_parent.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import Coroutine, Iterable, Mapping
from contextvars import Context
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from mediator.runners.launcher_client import LauncherClient, LauncherFailed
from mediator.runners.port import Run, Warm

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
"""Seconds until another try to have one, the first and the longest; they double."""
_log = structlog.get_logger(__name__)

Watched = tuple[str, int, int, int]
"""A path, and its modification time (ns), size and inode."""


class Parents:
    """Every warm parent of one runner."""

    def __init__(self) -> None:
        self._entries: dict[ParentSpec, _Entry] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        """that start or end one"""
        self._tidying: asyncio.TimerHandle | None = None
        self._open = False

    def open(self) -> None:
        """Have some started from now on, until `close`."""
        self._open = True

    def want(self, warm: Warm, environment: Mapping[str, str]) -> None:
        """Have one got ready, in the background, for what runs in this environment."""
        if self._open:
            self._ready(ParentSpec.of(warm, environment))

    async def prepare(self, run: Run) -> str:
        """Wait until there is one for such a run; why there is none, one sentence, or nothing."""
        if run.warm is None:
            return ""
        spec = ParentSpec.of(run.warm, run.environment)
        entry = self._entry(spec)
        if self._ready(spec) is None and entry.starting is not None:
            await asyncio.wait({entry.starting})
        return entry.problem

    def lend(self, run: Run) -> Parent | None:
        """What forks this run; None when there is none now. `take_back` must follow."""
        if run.warm is None:
            return None
        parent = self._ready(ParentSpec.of(run.warm, run.environment))
        if parent is not None:
            parent.attempts += 1
        return parent

    def take_back(self, parent: Parent) -> None:
        """The run that it was lent for has ended."""
        parent.attempts -= 1
        if all(entry.parent is not parent for entry in self._entries.values()):
            self._end(parent)

    def count(self, state: str) -> int:
        """How many are in this state: starting, ready or failed. Any thread may ask."""
        return sum(entry.state == state for entry in list(self._entries.values()))

    async def close(self) -> None:
        """End them all. No attempt may be running."""
        self._open = False
        if self._tidying is not None:
            self._tidying.cancel()
            self._tidying = None
        for entry in self._entries.values():
            self._empty(entry)
        self._entries.clear()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _ready(self, spec: ParentSpec) -> Parent | None:
        entry = self._entry(spec)
        parent = entry.parent
        if parent is not None and parent.out_of_date():
            self._lose(spec, entry, parent)
        if entry.parent is None:
            self._start(spec, entry)
        return entry.parent

    def _entry(self, spec: ParentSpec) -> _Entry:
        entry = self._entries.setdefault(spec, _Entry())
        entry.needed = _now()
        return entry

    def _start(self, spec: ParentSpec, entry: _Entry) -> None:
        if not self._open or entry.starting is not None or _now() < entry.not_before:
            return
        self._make_room()
        entry.starting = self._task(self._try(spec, entry), name="start a warm parent")
        if self._tidying is None:
            self._tidy_later()

    def _task(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        # For all its forks: its log lines are not those of the attempt that it is started in.
        task = asyncio.create_task(work, name=name, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _try(self, spec: ParentSpec, entry: _Entry) -> None:
        parent = Parent(spec)
        try:
            problem = await parent.start()
        finally:
            entry.starting = None
        if problem:
            entry.failed(pause=_PAUSE * 2**entry.failures)
            if problem != entry.problem:
                _log.warning("scripts are not kept warm", **_named(spec), reason=problem)
        else:
            entry.parent = parent
            _log.info("warm parent ready", **_named(spec), pid=parent.launcher.pid)
        entry.problem = problem

    def _lose(self, spec: ParentSpec, entry: _Entry, parent: Parent) -> None:
        if parent.launcher.pid is not None:
            _log.info("warm parent replaced", **_named(spec), reason="something in it has changed")
        elif _now() - parent.began > _STEADY:
            entry.failures = 0
        else:  # the first death is an accident, and costs no pause
            entry.failed(pause=_PAUSE * 2**entry.failures if entry.failures else 0.0)
        self._empty(entry)

    def _empty(self, entry: _Entry) -> None:
        if entry.starting is not None:
            entry.starting.cancel()
        if entry.parent is not None:
            parent, entry.parent = entry.parent, None
            self._end(parent)

    def _end(self, parent: Parent) -> None:
        """End it unless it has attempts: then `take_back` calls this again."""
        if parent.attempts == 0:
            self._task(parent.launcher.close(), name="end a warm parent")

    def _make_room(self) -> None:
        taken = [entry for entry in self._entries.values() if entry.parent is not None]
        if len(taken) >= _MOST:
            self._empty(min(taken, key=lambda entry: entry.needed))

    def _tidy_later(self) -> None:
        self._tidying = asyncio.get_running_loop().call_later(_IDLE / 2, self._tidy)

    def _tidy(self) -> None:
        long_ago = _now() - _IDLE
        for spec, entry in list(self._entries.items()):
            attempts = 0 if entry.parent is None else entry.parent.attempts
            if entry.needed < long_ago and not attempts and entry.starting is None:
                self._empty(entry)
                del self._entries[spec]
        self._tidy_later()


@dataclass(kw_only=True, slots=True)
class _Entry:
    """Of one spec: the parent, if there is one, and how it went to have one."""

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

    def failed(self, *, pause: float) -> None:
        """There is none again; `pause`: seconds until the next try."""
        self.failures = min(self.failures + 1, 10)
        self.not_before = _now() + min(pause, _LONGEST_PAUSE)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _named(spec: ParentSpec) -> dict[str, object]:
    return {"interpreter": " ".join(spec.command), "preload": list(spec.preload)}


@dataclass(frozen=True, kw_only=True, slots=True)
class ParentSpec:
    """What runs must have in common to be forks of one parent."""

    command: tuple[str, ...]
    directory: str
    """that of the script, without links: the first that it imports from"""
    preload: tuple[str, ...]
    environment: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, warm: Warm, environment: Mapping[str, str]) -> ParentSpec:
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

    def __init__(self, spec: ParentSpec) -> None:
        self.launcher = LauncherClient(self._spawn)
        self.attempts = 0
        """that are its forks and have not ended"""
        self.began = asyncio.get_running_loop().time()
        self._spec = spec
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
                [*self._spec.command, str(_PROGRAM), *map(str, mine)],
                stdin=stdin,
                stdout=out,
                stderr=err,
                pass_fds=mine,
                env=dict(self._spec.environment),
                cwd="/",
                start_new_session=True,
            )

    def _order(self) -> bytes:
        spec = self._spec
        command = [os.fsencode(word).decode("latin-1") for word in spec.command]
        order = {"command": command, "directory": spec.directory, "preload": spec.preload}
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
