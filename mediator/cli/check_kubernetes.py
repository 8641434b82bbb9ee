"""What `mediator check --kubernetes` looks at: the clusters that the settings name.

Nothing is made and nothing is run there, not even on trial: whether an image can be pulled is
known only to a node that pulls it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mediator.catalog.loader import ScriptsDirectory
from mediator.cli.findings import Finding, Grade
from mediator.cli.shim import selected
from mediator.errors import SettingsError
from mediator.keeper.pods import find
from mediator.kube.access import KEEPER_OPTIONAL, KEEPER_RIGHTS, RUNNER_RIGHTS, Right, review
from mediator.kube.client import (
    Cluster,
    KubernetesClient,
    KubernetesError,
    Manifest,
    connect,
    library,
)
from mediator.model.policy import RunnerName
from mediator.settings.kubernetes import Kubernetes
from mediator.settings.schema import Settings, Shim

_SECONDS = 10.0
"""For one answer; who waits is a person."""
IMAGE = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*)"
    r"(:(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(@(?P<digest>sha256:[0-9a-f]{64}))?"
)
"""https://github.com/distribution/reference; a registry may have rules of its own."""
_ONLY_A_NODE = "only a node that pulls it knows whether it is there"


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterUse:
    """What one part of the mediator needs of a cluster."""

    part: str
    cluster: Cluster
    rights: Sequence[Right]
    optional: frozenset[Right] = frozenset()
    grade: Grade = Grade.NOT_ALLOWED
    """how bad it is when something that is not optional is missing"""
    remedy: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Quota:
    """A ResourceQuota: what is used, and what there may be, as Kubernetes writes them."""

    name: str
    used: Mapping[str, str]
    hard: Mapping[str, str]


async def cluster_findings(settings: Settings) -> list[Finding]:
    """Everything that the settings use a cluster for, a finding each."""
    return [
        *[finding async for finding in _of_shim(settings.shim)],
        *[finding async for finding in _of_runner(settings.kubernetes)],
        *(of_images(images_of(settings)) if settings.kubernetes.enabled else ()),
    ]


async def _of_shim(shim: Shim) -> AsyncIterator[Finding]:
    """Whether its cluster is there, allows what is needed, and has the pods."""
    if not shim.selector:
        yield _unused("shim", "shim.selector is not set: the shim's pods are not looked for")
        return
    use = ClusterUse(
        part="shim",
        cluster=Cluster.of(shim),
        rights=KEEPER_RIGHTS,
        optional=KEEPER_OPTIONAL,
        remedy="apply deploy/kubernetes-shim/role.yaml there",
    )
    try:
        async with connect(use.cluster, seconds=_SECONDS) as client:
            async for finding in _of_cluster(client, use):
                yield finding
            yield await _of_pods(client, shim)
    except SettingsError as error:
        yield Finding(what=use.part, grade=use.grade, detail=str(error))


async def _of_runner(settings: Kubernetes) -> AsyncIterator[Finding]:
    """Whether its cluster is there, allows what is needed, and has room."""
    if not settings.enabled:
        yield _unused("runner", "kubernetes.enabled is false: no attempt runs as a Job")
        return
    use = ClusterUse(
        part="runner",
        cluster=Cluster.of(settings),
        rights=RUNNER_RIGHTS,
        grade=Grade.ERROR,  # without one of them `serve` does not start
        remedy="apply deploy/kubernetes-runner/role.yaml there",
    )
    try:
        async with connect(use.cluster, seconds=_SECONDS) as client:
            async for finding in _of_cluster(client, use):
                yield finding
            for finding in await _of_room(client):
                yield finding
    except SettingsError as error:
        yield Finding(what=use.part, grade=use.grade, detail=str(error))


def _unused(part: str, why: str) -> Finding:
    return Finding(what=part, grade=Grade.OK, detail=why)


async def _of_cluster(client: KubernetesClient, use: ClusterUse) -> AsyncIterator[Finding]:
    """Is it there, and does it allow what is needed? One line a right."""
    what = f"{use.part}: cluster"
    try:
        detail = f"Kubernetes {await client.version()} at {client.configuration.host}"
        yield Finding(what=what, grade=Grade.OK, detail=detail)
        rights = await review(client, use.rights)
    except KubernetesError as error:
        yield Finding(what=what, grade=Grade.UNREACHABLE, detail=f"{error}.")
        return
    for right, is_allowed in rights.items():
        yield _of_right(use, right, is_allowed=is_allowed)


def _of_right(use: ClusterUse, right: Right, *, is_allowed: bool) -> Finding:
    verb, resource = right
    what, namespace = f"{use.part}: {verb} {resource}", use.cluster.namespace
    if is_allowed:
        return Finding(what=what, grade=Grade.OK, detail=f"allowed in namespace {namespace}")
    return Finding(
        what=what,
        grade=Grade.WARNING if right in use.optional else use.grade,
        detail=f"may not {verb} {resource} in namespace {namespace}; {use.remedy}.",
    )


async def _of_pods(client: KubernetesClient, shim: Shim) -> Finding:
    what = "shim: pods"
    try:
        pods = await find(client, selected(shim))
    except KubernetesError as error:
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


async def _of_room(client: KubernetesClient) -> list[Finding]:
    """Of the quotas, which need not be readable: nothing else needs that right."""
    try:
        found, _ = await client.list(client.core("resourcequotas"))
    except KubernetesError as error:
        detail = f"not known, since it {error}; nothing else needs that right"
        return [Finding(what="runner: quota", grade=Grade.OK, detail=detail)]
    return list(of_quotas(map(_quota, found), client.namespace))


def _quota(item: Manifest) -> Quota:
    status = item.get("status") or {}
    return Quota(
        name=item["metadata"]["name"],
        used=status.get("used") or {},
        hard=status.get("hard") or {},
    )


def images_of(settings: Settings) -> list[str]:
    """Those of the settings and of the scripts, each once; of no script that cannot be read."""
    try:
        scripts = list(ScriptsDirectory(settings=settings).load().scripts.values())
    except SettingsError:  # told of as such
        scripts = []
    named = [
        script.policy.kubernetes.image
        for script in scripts
        if script.policy.runner is RunnerName.KUBERNETES
    ]
    return list(dict.fromkeys(image for image in [settings.kubernetes.image, *named] if image))


def of_images(images: Iterable[str]) -> Iterator[Finding]:
    """Is each the name of one image? Nothing is pulled."""
    named = list(images)
    for image in named:
        found = IMAGE.fullmatch(image)
        what = "runner: image"
        if found is None:
            yield Finding(what=what, grade=Grade.ERROR, detail=f"{image} is no image's name.")
        elif found["digest"] is None and found["tag"] in (None, "latest"):
            detail = f"{image} names no version, so what runs may change; {_ONLY_A_NODE}."
            yield Finding(what=what, grade=Grade.WARNING, detail=detail)
        else:
            yield Finding(what=what, grade=Grade.OK, detail=f"{image}; {_ONLY_A_NODE}")
    if not named:
        detail = "neither kubernetes.image nor a script names one"
        yield Finding(what="runner: image", grade=Grade.OK, detail=detail)


def of_quotas(found: Iterable[Quota], namespace: str) -> Iterator[Finding]:
    """One line for each; one that is used up keeps every attempt waiting."""
    listed = list(found)
    for quota in listed:
        full = [kind for kind in sorted(quota.hard) if _used_up(quota, kind)]
        told = ", ".join(
            f"{kind} {quota.used.get(kind, '0')} of {quota.hard[kind]}"
            for kind in full or sorted(quota.hard)
        )
        grade = Grade.WARNING if full else Grade.OK
        used_up = "used up: " if full else ""
        detail = f"{quota.name}: {used_up}{told}"
        yield Finding(what="runner: quota", grade=grade, detail=detail)
    if not listed:
        detail = f"none in namespace {namespace}"
        yield Finding(what="runner: quota", grade=Grade.OK, detail=detail)


def _used_up(quota: Quota, kind: str) -> bool:
    parse = library("kubernetes.utils.quantity").parse_quantity
    return bool(parse(quota.used.get(kind, "0")) >= parse(quota.hard[kind]))
