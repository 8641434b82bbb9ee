"""What `mediator check --kubernetes` looks at: the clusters that the settings name.

Nothing is made and nothing is run there, not even on trial: whether an image can be pulled is
known only to a node that pulls it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mediator.cli.checking import Finding, Grade
from mediator.cli.cluster_asking import NoAnswer, Right, allowed, version
from mediator.cli.shim_keeping import cluster_of, selected
from mediator.errors import SettingsError
from mediator.keeper.pods import find
from mediator.keeper.requests import PodError
from mediator.keeper.rights import OPTIONAL, RIGHTS
from mediator.kubernetes_api import Cluster, api_client
from mediator.settings.tree import Settings, Shim

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """What one part of the mediator needs of a cluster."""

    part: str
    cluster: Cluster
    rights: Sequence[Right]
    optional: frozenset[Right] = frozenset()
    grade: Grade = Grade.NOT_ALLOWED
    """how bad it is when something that is not optional is missing"""
    remedy: str


async def cluster_findings(settings: Settings) -> list[Finding]:
    """Everything that the settings use a cluster for, a finding each."""
    if not settings.shim.selector:
        return [_unused("shim", "shim.selector is not set: the shim's pods are not looked for")]
    return [finding async for finding in _of_shim(settings.shim)]


async def _of_shim(shim: Shim) -> AsyncIterator[Finding]:
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
        yield Finding(what=need.part, grade=Grade.NOT_ALLOWED, detail=str(error))


async def cluster_answers(api: ApiClient, need: Need) -> AsyncIterator[Finding]:
    """Is it there, and does it allow what is needed? One line a right."""
    what = f"{need.part}: cluster"
    try:
        detail = f"Kubernetes {await version(api)} at {api.configuration.host}"
        yield Finding(what=what, grade=Grade.OK, detail=detail)
        rights = await allowed(api, need.cluster.namespace, need.rights)
    except NoAnswer as error:
        yield Finding(what=what, grade=Grade.UNREACHABLE, detail=f"{error}.")
        return
    for right, is_allowed in zip(need.rights, rights, strict=True):
        yield _right(need, right, is_allowed=is_allowed)


def _right(need: Need, right: Right, *, is_allowed: bool) -> Finding:
    verb, resource = right
    what, namespace = f"{need.part}: {verb} {resource}", need.cluster.namespace
    if is_allowed:
        return Finding(what=what, grade=Grade.OK, detail=f"allowed in namespace {namespace}")
    return Finding(
        what=what,
        grade=Grade.WARNING if right in need.optional else need.grade,
        detail=f"may not {verb} {resource} in namespace {namespace}; {need.remedy}.",
    )


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
