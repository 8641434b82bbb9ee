"""All pods that match, one after another: what was found in each, and what was done."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mediator.keeper.files import Difference
from mediator.keeper.keeping import Keeper, SelfTest, Wanted
from mediator.keeper.pods import Pod, Selection, find
from mediator.keeper.requests import PodError

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What came of one pod."""

    pod: Pod
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
    api: ApiClient, selection: Selection, wanted: Wanted, *, write: bool
) -> AsyncIterator[Report]:
    """A report of each pod as soon as it is there. Raises `PodError` when none can be listed."""
    pods, _ = await find(api, selection)
    if not pods:
        raise PodError(
            f"no pod in namespace {selection.namespace} has the labels {selection.selector};"
            " see shim.selector and shim.namespace"
        )
    for pod in pods:
        yield await one_pod(api, pod, wanted, write=write)


async def one_pod(api: ApiClient, pod: Pod, wanted: Wanted, *, write: bool) -> Report:
    """Look at it, put it right if `write`, and try the shim where it is the right one."""
    if pod.why_not:
        return Report(pod=pod, problem=pod.why_not)
    keeper = Keeper(api=api, place=pod.place, wanted=wanted)
    report = Report(pod=pod)
    try:
        found = await keeper.look()
        report = replace(report, differences=found.differences)
        if found.differences and write:
            await keeper.put_right(found)
            report = replace(report, written=True)
        return report if report.drifted else replace(report, self_test=await keeper.self_test())
    except PodError as error:
        return replace(report, problem=str(error))
