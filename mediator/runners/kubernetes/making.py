"""Makes the Job and the Secret of an attempt, or finds that an earlier mediator has made them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from mediator.kubernetes_api import describe
from mediator.model.attempts import Outcome
from mediator.model.pods import Pod
from mediator.runners.kubernetes.calls import Calls, passes, persistently, status_of
from mediator.runners.kubernetes.ending import stopped_before
from mediator.runners.kubernetes.job import job, secret
from mediator.runners.kubernetes.merging import Manifest
from mediator.runners.kubernetes.naming import job_name
from mediator.runners.kubernetes.situation import Failed
from mediator.runners.port import Run
from mediator.settings.kubernetes import Kubernetes

_EXISTS = 409
_INVALID = frozenset({400, 413, 422})


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """The Job of an attempt."""

    job: Manifest
    adopted: bool
    """it was there already"""


async def make(run: Run, calls: Calls, settings: Kubernetes) -> Made | Failed:
    """Have the Job and its Secret made, each once, for as long as the API server is away.

    The Job comes first and owns the Secret, so that whatever is made is removed with it; it is let
    go last, because a pod that must wait for its Secret waits for seconds. A Job of that name is
    the same attempt, begun by a mediator that has gone; how far that came does not matter.
    """
    name = job_name(run.name)
    try:
        secret(run, settings, owner="")  # before anything is made of what cannot be
    except (ValueError, OverflowError) as error:
        return Failed(outcome=Outcome.NOT_STARTED, reason=f"not started: {error}", final=True)
    try:
        wanted = job(run, run.pod or Pod(), settings)
        new = await _create(calls, calls.jobs(), wanted)
        made = await persistently(partial(calls.get, calls.jobs(name))) if new is None else new
        belonging = secret(run, settings, owner=made["metadata"]["uid"])
        await _create(calls, calls.of_core("secrets"), belonging)
        if stopped_before(made) is None:
            go = {"spec": {"parallelism": 1}}
            made = await persistently(partial(calls.patch, calls.jobs(name), go))
    except Exception as error:
        if passes(error) or status_of(error) is None:
            raise
        return _refused(error)
    return Made(job=made, adopted=new is None)


async def _create(calls: Calls, path: str, body: Manifest) -> Manifest | None:
    """None: there is one of that name."""
    try:
        return await persistently(partial(calls.create, path, body))
    except Exception as error:
        if status_of(error) == _EXISTS:
            return None
        raise


def _refused(error: Exception) -> Failed:
    if status_of(error) in _INVALID:
        reason = f"not started: the cluster does not accept its Job: {describe(error)}"
        return Failed(outcome=Outcome.NOT_STARTED, reason=reason, final=True)
    return Failed(outcome=Outcome.REFUSED, reason=f"refused by the cluster: {describe(error)}")
