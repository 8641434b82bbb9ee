"""Scripts for runners to run, and eyes to see what became of them."""

from __future__ import annotations

import asyncio
import os
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import psutil

from mediator.model.delivery import Ended
from mediator.model.policy import Limits
from mediator.runners.port import Run, Warm
from mediator.runners.prefork import Parents
from mediator.runners.process import ProcessRunner

DEADLINE = 60.0
"""Seconds after which something that must happen has not happened."""


class Scripts:
    """Writes scripts, describes runs of them, and finds their processes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.marker = uuid.uuid4().hex
        """is in the environment of every process that comes of a run"""
        self.names: set[str] = set()
        """of the scripts; a fork of a warm parent has the name of its script, and no variables"""

    def write(self, text: str, *, mode: int = 0o755) -> Path:
        path = self.directory / f"script-{uuid.uuid4().hex[:8]}"
        self.names.add(path.name)
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        path.chmod(mode)
        return path

    def bash(self, text: str) -> Path:
        return self.write(f"#!/bin/bash\n{text}\n")

    def python(self, text: str) -> Path:
        return self.write(f"#!{sys.executable} -IS\n{text}\n")

    def perl(self, text: str) -> Path:
        return self.write(f"#!/usr/bin/perl\nuse strict; use POSIX;\n{text}\n")

    def run(
        self,
        program: Path,
        *arguments: str,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        timeout: float = DEADLINE,
        grace: float = DEADLINE,
        limits: Limits | None = None,
        warm: Warm | None = None,
    ) -> Run:
        if environment is None:
            environment = {"MARKER": self.marker, "PATH": os.defpath}
        return Run(
            name="delivery/1",
            program=program,
            arguments=arguments,
            environment=environment,
            stdin=stdin,
            timeout=timeout,
            grace=grace,
            limits=limits or Limits(),
            warm=warm,
        )

    def living(self) -> list[int]:
        """Processes that came of a run and are alive."""
        found = []
        for process in psutil.process_iter():
            try:
                if self._is_ours(process):
                    found.append(process.pid)
            except (OSError, psutil.Error):
                continue
        return found

    def _is_ours(self, process: psutil.Process) -> bool:
        variables = Path(f"/proc/{process.pid}/environ").read_bytes()
        named = Path(f"/proc/{process.pid}/comm").read_text().strip() in self.names
        dead = process.status() == psutil.STATUS_ZOMBIE
        return self.marker.encode() in variables or (named and not dead)


class Start(Protocol):
    """Starts a run as a task; the keywords are those of `Scripts.run`."""

    def __call__(
        self,
        program: Path,
        *arguments: str,
        stop: asyncio.Event | None = None,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        timeout: float = DEADLINE,
        grace: float = DEADLINE,
        limits: Limits | None = None,
    ) -> asyncio.Task[Ended]: ...


class Warmed(ProcessRunner):
    """A runner with a warm parent ready before each attempt, for whatever Python runs."""

    def __init__(self, directory: Path) -> None:
        self.parents = Parents()
        super().__init__(directory, parents=self.parents)

    async def run(self, run: Run, *, stop: asyncio.Event) -> Ended:
        interpreter = interpreter_of(run.program)
        if run.warm is None and "python" in interpreter[0]:
            run = replace(run, warm=Warm(command=interpreter, script=run.program))
        assert await self.parents.prepare(run) == ""
        return await super().run(run, stop=stop)


def interpreter_of(program: Path) -> tuple[str, ...]:
    """What the first line names, as the kernel reads it."""
    if not os.access(program, os.R_OK) or not program.is_file():
        return ("",)
    with program.open("rb") as file:
        line = file.readline(256)
    words = line.removeprefix(b"#!").decode(errors="replace").split(maxsplit=1)
    return tuple(word.strip() for word in words) if line.startswith(b"#!") and words else ("",)


def found(directory: Path, pattern: str = "*") -> list[Path]:
    """What is in a directory now."""
    return sorted(directory.glob(pattern))


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition, and fail when it does not come true."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.005)


def warm_parents() -> list[psutil.Process]:
    """The warm parents of this process that are alive."""
    program = "warm_importlib_bootstrap.py"
    return [
        child
        for child in psutil.Process().children()
        if any(program in word for word in child.cmdline())
    ]
