"""What is known of the runs in the cluster that this mediator looks after."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mediator.runners.kubernetes.merging import Manifest
from mediator.runners.kubernetes.naming import RUN, RUN_NAME

_ENDS = frozenset({"Complete", "Failed"})
"""Conditions of a Job (https://kubernetes.io/docs/concepts/workloads/controllers/job/)."""


@dataclass(kw_only=True, slots=True)
class Sight:
    """The Job and the pod of one run, as they were last seen."""

    job: Manifest | None = None
    job_gone: bool = False
    pod: Manifest | None = None
    """the first one; the cluster makes a second one only where it has taken the first away"""
    pod_gone: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pod_name(self) -> str:
        """The name of the pod; empty: there is none yet."""
        return "" if self.pod is None else str(self.pod["metadata"]["name"])


class Sights:
    """All Jobs and pods of mediators, and closer the runs that this one looks after."""

    def __init__(self) -> None:
        self._jobs: dict[str, Manifest] = {}
        self._pods: dict[str, Manifest] = {}
        self._sights: dict[str, Sight] = {}
        self._since: dict[str, int] = {}
        self._lists = 0

    @contextmanager
    def of(self, name: str) -> Iterator[Sight]:
        """Look after the run whose Job has that name, which may be there already."""
        sight = self._sights[name] = Sight(job=self._jobs.get(name))
        for pod in sorted(self._pods.values(), key=_age):
            self._tell(pod)
        try:
            yield sight
        finally:
            del self._sights[name]
            self._since.pop(name, None)

    def ended(self) -> set[str]:
        """The runs whose Jobs have ended, without those that this mediator looks after."""
        return {
            job["metadata"].get("annotations", {}).get(RUN_NAME, "")
            for name, job in self._jobs.items()
            if name not in self._sights and _has_ended(job)
        }

    def made(self, name: str, job: Manifest) -> None:
        """The Job is there: a list that begins from now on and lacks it means that it has gone."""
        self._since[name] = self._lists
        self._sights[name].job = self._sights[name].job or job

    def listing(self) -> int:
        """A list is being asked for; returns its number, for `jobs`."""
        self._lists += 1
        return self._lists

    def jobs(self, found: Iterable[Manifest], *, number: int) -> None:
        """A whole list of Jobs."""
        now = {job["metadata"]["name"]: job for job in found}
        for name in self._jobs.keys() - now.keys():
            self.job(self._jobs[name], gone=True)
        for job in now.values():
            self.job(job)
        for name, since in list(self._since.items()):
            if name not in now and since < number:
                self._sights[name].job_gone = True
                self._sights[name].changed.set()

    def pods(self, found: Iterable[Manifest], *, number: int) -> None:
        """A whole list of pods."""
        del number  # a pod is known only from lists and watches, all of them before this list
        now = {pod["metadata"]["uid"]: pod for pod in found}
        for uid in self._pods.keys() - now.keys():
            self.pod(self._pods[uid], gone=True)
        for pod in now.values():
            self.pod(pod)

    def job(self, item: Manifest, *, gone: bool = False) -> None:
        """A Job has changed."""
        name = item["metadata"]["name"]
        _keep(self._jobs, name, item, gone=gone)
        sight = self._sights.get(name)
        if sight is not None:
            sight.job, sight.job_gone = item, gone
            sight.changed.set()

    def pod(self, item: Manifest, *, gone: bool = False) -> None:
        """A pod has changed."""
        _keep(self._pods, item["metadata"]["uid"], item, gone=gone)
        self._tell(item, gone=gone)

    def _tell(self, pod: Manifest, *, gone: bool = False) -> None:
        sight = self._sights.get(pod["metadata"].get("labels", {}).get(RUN, ""))
        if sight is None:
            return
        if sight.pod is None or sight.pod["metadata"]["uid"] == pod["metadata"]["uid"]:
            sight.pod, sight.pod_gone = pod, gone
            sight.changed.set()


def _has_ended(job: Manifest) -> bool:
    conditions = job.get("status", {}).get("conditions") or ()
    return any(one["type"] in _ENDS and one["status"] == "True" for one in conditions)


def _keep(known: dict[str, Manifest], key: str, item: Manifest, *, gone: bool) -> None:
    if gone:
        known.pop(key, None)
    else:
        known[key] = item


def _age(pod: Manifest) -> str:
    return str(pod["metadata"].get("creationTimestamp", ""))
