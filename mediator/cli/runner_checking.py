"""The kubernetes runner's part of `mediator check --kubernetes`: its rights, images and quotas."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING

from mediator.catalog.directory import ScriptsDirectory
from mediator.cli.checking import Finding, Grade
from mediator.cli.cluster_asking import Need, NoAnswer, Quota, cluster_answers, quotas
from mediator.errors import SettingsError
from mediator.kubernetes_api import Cluster, library
from mediator.model.policies import RunnerName
from mediator.runners.kubernetes.rights import RIGHTS
from mediator.settings.kubernetes import Kubernetes
from mediator.settings.tree import Settings

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

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
        rights=RIGHTS,
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
