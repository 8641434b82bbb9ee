"""One pod, or all that match: what differs, putting that right, and what the shim says there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from mediator.keeper import protocol
from mediator.keeper.pods import SecureChangePod, Selection, find
from mediator.keeper.protocol import (
    NEEDED_TO_INSTALL,
    Difference,
    Listing,
    PodError,
    PodFile,
    difference,
)
from mediator.kube.client import KubernetesClient, KubernetesError
from mediator.kube.exec import CommandResult, PodContainer, execute


@dataclass(frozen=True, kw_only=True, slots=True)
class DesiredFiles:
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
class Report:
    """What came of one pod."""

    pod: SecureChangePod
    differences: Sequence[Difference] = ()
    written: bool = False
    """whether the differences are put right"""
    self_test: SelfTest | None = None
    """None: it was not tried"""
    problem: str = ""
    """why the pod could not be looked at, written to or tried"""

    @property
    def drifted(self) -> bool:
        """Whether something still differs."""
        return bool(self.differences) and not self.written


async def each_pod(
    client: KubernetesClient, selection: Selection, desired: DesiredFiles, *, write: bool
) -> AsyncIterator[Report]:
    """A report of each pod as soon as it is there. Raises `KubernetesError` when there is none."""
    pods = await find(client, selection)
    if not pods:
        raise PodError(
            f"no pod in namespace {client.namespace} has the labels {selection.selector};"
            " see shim.selector and shim.namespace"
        )
    for pod in pods:
        yield await one_pod(client, pod, desired, write=write)


async def one_pod(
    client: KubernetesClient, pod: SecureChangePod, desired: DesiredFiles, *, write: bool
) -> Report:
    """Look at it, put it right if `write`, and try the shim where it is the right one."""
    if pod.why_not:
        return Report(pod=pod, problem=pod.why_not)
    keeper = Keeper(client=client, place=pod.place, desired=desired)
    report = Report(pod=pod)
    try:
        found = await keeper.look()
        report = replace(report, differences=found.differences)
        if found.differences and write:
            await keeper.put_right(found)
            report = replace(report, written=True)
        return report if report.drifted else replace(report, self_test=await keeper.self_test())
    except KubernetesError as error:
        return replace(report, problem=str(error))


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """What differs in a container, and which commands there are to put it right."""

    differences: tuple[Difference, ...]
    tools: frozenset[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Keeper:
    """Does it, in one container. Raises `KubernetesError`, which `PodError` is too."""

    client: KubernetesClient
    place: PodContainer
    desired: DesiredFiles

    async def look(self) -> Inspection:
        """What is not as it should be; nothing is written."""
        files = self.desired.files
        listing = protocol.read_look(await self._ask(protocol.look(files)), files)
        differences = tuple(await self._differences(listing))
        return Inspection(differences=differences, tools=listing.tools)

    async def put_right(self, found: Inspection) -> None:
        """Write what differs. Raises `PodError` when anything still does."""
        _be_able(found)
        await self._install([one.file for one in found.differences])

    async def self_test(self) -> SelfTest:
        """Have the shim look for its mediator. Raises `PodError` when it cannot be run."""
        path = f"{self.desired.directory.rstrip('/')}/{self.desired.shim}"
        ended = await self._run("bash", path, "--self-test")
        said = (ended.stdout + ended.stderr).decode(errors="replace")
        return SelfTest(code=ended.code, lines=tuple(said.splitlines()))

    async def _differences(self, listing: Listing) -> list[Difference]:
        files = self.desired.files
        same: dict[str, bool] = {}
        # Contents go out only where they must: to a pod that has files of these names already.
        unsure = [
            file
            for file, seen in zip(files, listing.seen, strict=True)
            if seen.plain and not seen.absent and seen.digest is None
        ]
        if unsure:
            answer = await self._ask(protocol.compare(unsure))
            compared = protocol.read_compare(answer, unsure)
            same = {file.name: one for file, one in zip(unsure, compared, strict=True)}
        found = (
            difference(file, seen, same=same.get(file.name))
            for file, seen in zip(files, listing.seen, strict=True)
        )
        return [one for one in found if one is not None]

    async def _install(self, files: Sequence[PodFile]) -> None:
        answer = await self._ask(protocol.install(files))
        failures = protocol.read_install(answer, files)
        failed = [
            f"{file.name} ({said})" for file, said in zip(files, failures, strict=True) if said
        ]
        if failed:
            raise PodError(
                f"{len(failed)} of {len(files)} files could not be written into"
                f" {self.desired.directory}: {'; '.join(failed)}"
            )

    async def _ask(self, asked: bytes) -> bytes:
        ended = await self._run(
            "bash", "-s", "--", self.desired.directory, stdin=protocol.program() + asked
        )
        return ended.stdout

    async def _run(self, *command: str, stdin: bytes = b"") -> CommandResult:
        return await execute(
            self.client, self.place, command, stdin=stdin, seconds=self.desired.seconds
        )


def _be_able(found: Inspection) -> None:
    missing = [name for name in NEEDED_TO_INSTALL if name not in found.tools]
    if missing:
        raise PodError(
            f"the container has no {' and no '.join(missing)}, so files cannot be written there;"
            " push them by tos scripts sc push"
        )
