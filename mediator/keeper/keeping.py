"""One pod: what differs in it, putting that right, and what the shim says of itself there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mediator.keeper import requests
from mediator.keeper.execution import Ended, Place, execute
from mediator.keeper.files import Difference, PodFile, difference
from mediator.keeper.requests import NEEDED_TO_INSTALL, Look, PodError

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What belongs into each pod, and how long one exec may take."""

    directory: str
    files: tuple[PodFile, ...]
    shim: str
    """name of the shim among the files"""
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfTest:
    """What `securechange-shim --self-test` said in the pod."""

    code: int
    lines: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether a mediator is reachable from there."""
        return self.code == 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What differs in a container, and which commands there are to put it right."""

    differences: tuple[Difference, ...]
    tools: frozenset[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Keeper:
    """Does it, in one container."""

    api: ApiClient
    place: Place
    wanted: Wanted

    async def look(self) -> Found:
        """What is not as it should be; nothing is written. Raises `PodError`."""
        files = self.wanted.files
        look = requests.read_look(await self._ask(requests.look(files)), files)
        return Found(differences=tuple(await self._differences(look)), tools=look.tools)

    async def put_right(self, found: Found) -> None:
        """Write what differs. Raises `PodError` when anything still does."""
        _be_able(found)
        await self._install([one.file for one in found.differences])

    async def self_test(self) -> SelfTest:
        """Have the shim look for its mediator. Raises `PodError` when it cannot be run."""
        path = f"{self.wanted.directory.rstrip('/')}/{self.wanted.shim}"
        ended = await self._run("bash", path, "--self-test")
        said = (ended.stdout + ended.stderr).decode(errors="replace")
        return SelfTest(code=ended.code, lines=tuple(said.splitlines()))

    async def _differences(self, look: Look) -> list[Difference]:
        files = self.wanted.files
        same: dict[str, bool] = {}
        # Contents go out only where they must: to a pod that has files of these names already.
        unsure = [
            file
            for file, seen in zip(files, look.seen, strict=True)
            if seen.plain and not seen.absent and seen.digest is None
        ]
        if unsure:
            answer = await self._ask(requests.compare(unsure))
            compared = requests.read_compare(answer, unsure)
            same = {file.name: one for file, one in zip(unsure, compared, strict=True)}
        found = (
            difference(file, seen, same=same.get(file.name))
            for file, seen in zip(files, look.seen, strict=True)
        )
        return [one for one in found if one is not None]

    async def _install(self, files: Sequence[PodFile]) -> None:
        answer = await self._ask(requests.install(files))
        failures = requests.read_install(answer, files)
        failed = [
            f"{file.name} ({said})" for file, said in zip(files, failures, strict=True) if said
        ]
        if failed:
            raise PodError(
                f"{len(failed)} of {len(files)} files could not be written into"
                f" {self.wanted.directory}: {'; '.join(failed)}"
            )

    async def _ask(self, asked: bytes) -> bytes:
        ended = await self._run(
            "bash", "-s", "--", self.wanted.directory, stdin=requests.program() + asked
        )
        return ended.stdout

    async def _run(self, *command: str, stdin: bytes = b"") -> Ended:
        return await execute(
            self.api, self.place, command, stdin=stdin, seconds=self.wanted.seconds
        )


def _be_able(found: Found) -> None:
    missing = [name for name in NEEDED_TO_INSTALL if name not in found.tools]
    if missing:
        raise PodError(
            f"the container has no {' and no '.join(missing)}, so files cannot be written there;"
            " push them by tos scripts sc push"
        )
