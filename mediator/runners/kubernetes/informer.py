"""The informer cache: the Jobs and pods of mediators, as two list-watch loops keep it.

Whoever runs an attempt looks at it in the cache instead of asking the API server, and is woken when
its Job or pod changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mediator.kube.client import Manifest
from mediator.runners.kubernetes.manifests import RUN, RUN_NAME

_ENDS = frozenset({"Complete", "Failed"})
"""Conditions of a Job (https://kubernetes.io/docs/concepts/workloads/controllers/job/)."""


@dataclass(kw_only=True, slots=True)
class CachedRun:
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


class InformerCache:
    """All Jobs and pods of mediators, and closer the runs that this one looks after."""

    def __init__(self) -> None:
        self._jobs: dict[str, Manifest] = {}
        self._pods: dict[str, Manifest] = {}
        self._runs: dict[str, CachedRun] = {}
        self._created_at: dict[str, float] = {}

    @contextmanager
    def run(self, name: str) -> Iterator[CachedRun]:
        """Look after the run whose Job has that name, which may be there already."""
        run = self._runs[name] = CachedRun(job=self._jobs.get(name))
        for pod in sorted(self._pods.values(), key=_age):
            self._tell(pod)
        try:
            yield run
        finally:
            del self._runs[name]
            self._created_at.pop(name, None)

    def ended(self) -> set[str]:
        """The runs whose Jobs have ended, without those that this mediator looks after."""
        return {
            job["metadata"].get("annotations", {}).get(RUN_NAME, "")
            for name, job in self._jobs.items()
            if name not in self._runs and _has_ended(job)
        }

    def created(self, name: str, job: Manifest, *, at: float) -> None:
        """The Job is there: a list that was asked for later and lacks it means that it has gone."""
        self._created_at[name] = at
        self._runs[name].job = self._runs[name].job or job

    def replace_jobs(self, items: Iterable[Manifest], *, asked_at: float) -> None:
        """A whole list of Jobs; `asked_at` and `at` are of the loop's clock."""
        now = {job["metadata"]["name"]: job for job in items}
        for name in self._jobs.keys() - now.keys():
            self.change_job(self._jobs[name], deleted=True)
        for job in now.values():
            self.change_job(job, deleted=False)
        for name, at in self._created_at.items():
            if name not in now and at < asked_at:
                self._runs[name].job_gone = True
                self._runs[name].changed.set()

    def replace_pods(self, items: Iterable[Manifest], *, asked_at: float) -> None:
        """A whole list of pods."""
        del asked_at  # a pod is known only from lists and watches, all of them before this list
        now = {pod["metadata"]["uid"]: pod for pod in items}
        for uid in self._pods.keys() - now.keys():
            self.change_pod(self._pods[uid], deleted=True)
        for pod in now.values():
            self.change_pod(pod, deleted=False)

    def change_job(self, item: Manifest, *, deleted: bool) -> None:
        """A Job has changed."""
        name = item["metadata"]["name"]
        _keep(self._jobs, name, item, deleted=deleted)
        run = self._runs.get(name)
        if run is not None:
            run.job, run.job_gone = item, deleted
            run.changed.set()

    def change_pod(self, item: Manifest, *, deleted: bool) -> None:
        """A pod has changed."""
        _keep(self._pods, item["metadata"]["uid"], item, deleted=deleted)
        self._tell(item, deleted=deleted)

    def _tell(self, pod: Manifest, *, deleted: bool = False) -> None:
        run = self._runs.get(pod["metadata"].get("labels", {}).get(RUN, ""))
        if run is None:
            return
        if run.pod is None or run.pod["metadata"]["uid"] == pod["metadata"]["uid"]:
            run.pod, run.pod_gone = pod, deleted
            run.changed.set()


def _has_ended(job: Manifest) -> bool:
    conditions = job.get("status", {}).get("conditions") or ()
    return any(one["type"] in _ENDS and one["status"] == "True" for one in conditions)


def _keep(known: dict[str, Manifest], key: str, item: Manifest, *, deleted: bool) -> None:
    if deleted:
        known.pop(key, None)
    else:
        known[key] = item


def _age(pod: Manifest) -> str:
    return str(pod["metadata"].get("creationTimestamp", ""))
