"""What `mediator check --kubernetes` looks at: the clusters that the settings name.

Nothing is made and nothing is run there, not even on trial: whether an image can be pulled is
known only to a node that pulls it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from mediator.cli.checking import Finding, Grade
from mediator.cli.cluster_asking import Need, cluster_answers
from mediator.cli.runner_checking import images_of, of_images, of_runner, runner_need
from mediator.cli.shim_keeping import cluster_of, selected
from mediator.errors import SettingsError
from mediator.keeper.pods import find
from mediator.keeper.requests import PodError
from mediator.keeper.rights import OPTIONAL, RIGHTS
from mediator.kubernetes_api import api_client
from mediator.settings.kubernetes import Kubernetes
from mediator.settings.shim import Shim
from mediator.settings.tree import Settings

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient


async def cluster_findings(settings: Settings) -> list[Finding]:
    """Everything that the settings use a cluster for, a finding each."""
    return [
        *[finding async for finding in _of_shim(settings.shim)],
        *[finding async for finding in _of_runner(settings.kubernetes)],
        *(of_images(images_of(settings)) if settings.kubernetes.enabled else ()),
    ]


async def _of_shim(shim: Shim) -> AsyncIterator[Finding]:
    if not shim.selector:
        yield _unused("shim", "shim.selector is not set: the shim's pods are not looked for")
        return
    need = Need(
        part="shim",
        cluster=cluster_of(shim),
        rights=RIGHTS,
        optional=OPTIONAL,
        remedy="apply deploy/kubernetes-shim/role.yaml there",
    )
    try:
        async with api_client(need.cluster) as api:
            async for finding in cluster_answers(api, need):
                yield finding
            yield await _pods(api, shim)
    except SettingsError as error:
        yield Finding(what=need.part, grade=need.grade, detail=str(error))


async def _of_runner(settings: Kubernetes) -> AsyncIterator[Finding]:
    if not settings.enabled:
        yield _unused("runner", "kubernetes.enabled is false: no attempt runs as a Job")
        return
    need = runner_need(settings)
    try:
        async with api_client(need.cluster) as api:
            async for finding in of_runner(api, settings, need):
                yield finding
    except SettingsError as error:
        yield Finding(what=need.part, grade=need.grade, detail=str(error))


async def _pods(api: ApiClient, shim: Shim) -> Finding:
    what = "shim: pods"
    try:
        pods, _ = await find(api, selected(shim))
    except PodError as error:
        return Finding(what=what, grade=Grade.UNREACHABLE, detail=f"{error}.")
    if not pods:
        detail = f"no pod in namespace {shim.namespace} has the labels {shim.selector}."
        return Finding(what=what, grade=Grade.WARNING, detail=detail)
    well = [pod for pod in pods if not pod.why_not]
    shown = ", ".join(f"{pod.name} (container {pod.place.container})" for pod in well)
    odd = "".join(f"; {pod.name}: {pod.why_not}" for pod in pods if pod.why_not)
    return Finding(
        what=what, grade=Grade.WARNING if odd else Grade.OK, detail=f"{shown or 'none runs'}{odd}"
    )


def _unused(part: str, why: str) -> Finding:
    return Finding(what=part, grade=Grade.OK, detail=why)
