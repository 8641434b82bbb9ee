"""What `mediator check --kubernetes` looks at: the clusters that the settings name.

Nothing is made and nothing is run there, not even on trial: whether an image can be pulled is
known only to a node that pulls it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mediator.catalog.loader import ScriptsDirectory
from mediator.cli.findings import Finding, Grade
from mediator.cli.shim import cluster_of, selected
from mediator.errors import MediatorError, SettingsError
from mediator.keeper.pods import find
from mediator.keeper.protocol import PodError
from mediator.keeper.rights import KEEPER_RIGHTS, OPTIONAL
from mediator.kube.client import Cluster, api_client, describe, library
from mediator.model.policy import RunnerName
from mediator.runners.kubernetes.rights import JOB_RIGHTS
from mediator.settings.kubernetes import Kubernetes
from mediator.settings.schema import Settings, Shim

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
        rights=KEEPER_RIGHTS,
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


# What a cluster says of itself and of what may be done in it, for `mediator check`.

_SECONDS = 10.0
"""For one question; who waits is a person."""
_BATCH = frozenset({"jobs"})
"""Resources of the group batch; all others here are of the core."""
Right = tuple[str, str]
"""Verb and resource, as RBAC names them."""


class NoAnswer(MediatorError):
    """The cluster did not say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quota:
    """A ResourceQuota: what is used, and what there may be, as Kubernetes writes them."""

    name: str
    used: Mapping[str, str]
    hard: Mapping[str, str]


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


async def version(api: ApiClient) -> str:
    """Such as v1.34.1; everybody who is recognised may ask. Raises `NoAnswer`."""
    asked = library("kubernetes.aio.client").VersionApi(api).get_code
    return str((await _answer(lambda: asked(_request_timeout=_SECONDS))).git_version)


async def allowed(api: ApiClient, namespace: str, rights: Sequence[Right]) -> list[bool]:
    """Whether each is there; everybody may ask for itself. Raises `NoAnswer`.

    https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access
    """
    return list(await asyncio.gather(*(_allowed(api, namespace, right) for right in rights)))


async def quotas(api: ApiClient, namespace: str) -> list[Quota]:
    """Those of the namespace. Raises `NoAnswer`, also where they may not be listed."""
    asked = library("kubernetes.aio.client").CoreV1Api(api).list_namespaced_resource_quota
    found = await _answer(lambda: asked(namespace, _request_timeout=_SECONDS))
    return [
        Quota(
            name=item.metadata.name,
            used=item.status.used or {},
            hard=item.status.hard or {},
        )
        for item in found.items
    ]


async def _allowed(api: ApiClient, namespace: str, right: Right) -> bool:
    verb, resource = right
    kind, _, part = resource.partition("/")
    review = {
        "spec": {
            "resourceAttributes": {
                "namespace": namespace,
                "verb": verb,
                "group": "batch" if kind in _BATCH else "",
                "resource": kind,
                "subresource": part,
            }
        }
    }
    reviews = library("kubernetes.aio.client").AuthorizationV1Api(api)
    asked = reviews.create_self_subject_access_review
    answer = await _answer(lambda: asked(review, _request_timeout=_SECONDS))
    return bool(answer.status.allowed)


async def _answer(ask: Callable[[], Awaitable[Any]]) -> Any:
    try:
        return await ask()
    except Exception as error:  # the library, aiohttp and the connection each have their own
        raise NoAnswer(describe(error)) from error


# The kubernetes runner's part of `mediator check --kubernetes`: its rights, images and quotas.

IMAGE = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*)"
    r"(:(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(@(?P<digest>sha256:[0-9a-f]{64}))?"
)
"""https://github.com/distribution/reference; a registry may have rules of its own."""
_ONLY_A_NODE = "only a node that pulls it knows whether it is there"


def runner_need(settings: Kubernetes) -> Need:
    """Without these rights `serve` does not start."""
    return Need(
        part="runner",
        cluster=Cluster(
            kubeconfig=settings.kubeconfig, context=settings.context, namespace=settings.namespace
        ),
        rights=JOB_RIGHTS,
        grade=Grade.ERROR,
        remedy="apply deploy/kubernetes-runner/role.yaml there",
    )


async def of_runner(api: ApiClient, settings: Kubernetes, need: Need) -> AsyncIterator[Finding]:
    """Whether the cluster is there, allows what is needed, and has room."""
    async for finding in cluster_answers(api, need):
        yield finding
    try:
        found = await quotas(api, settings.namespace)
    except NoAnswer as error:
        detail = f"not known, since it {error}; nothing else needs that right"
        yield Finding(what="runner: quota", grade=Grade.OK, detail=detail)
    else:
        for finding in of_quotas(found, settings.namespace):
            yield finding


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
