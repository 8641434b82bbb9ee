"""The pod of an attempt: pure builders, from what the settings and the policy say.

Four layers, each over the one before: the restricted defaults, the settings' pod template, the
policy, and what the runner needs to be as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from mediator.model.pods import EnvironmentSource, Pod, PodVolume
from mediator.runners.kubernetes.merging import Manifest, merged
from mediator.runners.kubernetes.naming import (
    MANAGED,
    MANAGER,
    PIPE_DIRECTORY,
    PROGRAM,
    RUN,
    SCRIPT,
    SCRIPT_CONTAINER,
    STDERR_CONTAINER,
    TICKET_DIRECTORY,
    WORK_DIRECTORY,
    job_name,
    label,
)
from mediator.runners.kubernetes.program import RELAY
from mediator.runners.port import Run
from mediator.settings.kubernetes import Kubernetes

USER = 65532
"""The user and group that scripts run as, `nonroot` in many images."""
_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
"""With the pod's own context, what the Pod Security Standards call restricted
(https://kubernetes.io/docs/concepts/security/pod-security-standards/)."""
_BASE_ENVIRONMENT = [
    {"name": "HOME", "value": WORK_DIRECTORY},
    {"name": "LANG", "value": "C.UTF-8"},
    {"name": "TZ", "value": "UTC"},
]
_RELAY_RESOURCES = {
    "requests": {"cpu": "5m", "memory": "16Mi"},
    "limits": {"cpu": "500m", "memory": "64Mi"},
}
"""Of the container that copies standard error. Stated, because a quota may want that of each."""


def pod_template(run: Run, pod: Pod, settings: Kubernetes) -> Manifest:
    """The template in the Job."""
    built = merged(_defaults(), settings.pod_template)
    return merged(merged(built, _policy(pod, settings)), _owned(run, settings))


def labels(run: Run) -> dict[str, str]:
    """By which everything of a run is found."""
    return {MANAGED: MANAGER, RUN: job_name(run.name), SCRIPT: label(run.script)}


def _defaults() -> Manifest:
    return {
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": SCRIPT_CONTAINER,
                    "securityContext": _RESTRICTED,
                    "env": _BASE_ENVIRONMENT,
                },
                {
                    "name": STDERR_CONTAINER,
                    "securityContext": _RESTRICTED,
                    "resources": _RELAY_RESOURCES,
                },
            ],
        }
    }


def _policy(pod: Pod, settings: Kubernetes) -> Manifest:
    """What the policy says; the same image for both containers, so that it is pulled once."""
    image = {"image": pod.image or settings.image}
    mounts = [
        {"name": f"volume-{i}", "mountPath": volume.path, "readOnly": not volume.writable}
        for i, volume in enumerate(pod.volumes)
    ]
    script = {
        **image,
        "resources": _stated(pod.resources.model_dump()),
        "envFrom": [_environment_source(source) for source in pod.env_from],
        "volumeMounts": mounts,
    }
    spec = {
        "containers": [
            {"name": SCRIPT_CONTAINER, **_stated(script)},
            {"name": STDERR_CONTAINER, **_stated(image)},
        ],
        "nodeSelector": pod.node_selector,
        "tolerations": list(pod.tolerations),
        "volumes": [_volume(f"volume-{i}", volume) for i, volume in enumerate(pod.volumes)],
        "serviceAccountName": pod.service_account,
        "automountServiceAccountToken": True if pod.service_account else None,
    }
    return {"metadata": {"labels": pod.labels}, "spec": _stated(spec)}


def _stated(part: Manifest) -> Manifest:
    """Without what the policy leaves to the template."""
    return {key: value for key, value in part.items() if value}


def _environment_source(source: EnvironmentSource) -> Manifest:
    if source.secret is not None:
        return {"secretRef": {"name": source.secret}}
    return {"configMapRef": {"name": source.config_map}}


def _volume(name: str, volume: PodVolume) -> Manifest:
    if volume.claim is not None:
        source: Manifest = {"persistentVolumeClaim": {"claimName": volume.claim}}
    elif volume.secret is not None:
        source = {"secret": {"secretName": volume.secret}}
    else:
        source = {"configMap": {"name": volume.config_map}}
    return {"name": name, **source}


def _owned(run: Run, settings: Kubernetes) -> Manifest:
    """What makes it an attempt.

    One process namespace: so no script is process number 1, which the kernel shields from signals,
    and what a script has left running ends with its container.
    """
    return {
        "metadata": {"labels": labels(run)},
        "spec": {
            "restartPolicy": "Never",
            "shareProcessNamespace": True,
            "terminationGracePeriodSeconds": max(1, math.ceil(run.grace)),
            "activeDeadlineSeconds": deadline(run, settings),
            "containers": [
                {
                    "name": SCRIPT_CONTAINER,
                    "command": ["/bin/sh", f"{TICKET_DIRECTORY}/{PROGRAM}"],
                    "args": [],
                    "workingDir": WORK_DIRECTORY,
                    "terminationMessagePath": "/dev/termination-log",
                    "terminationMessagePolicy": "File",
                    "volumeMounts": list(_script_mounts(settings)),
                },
                {
                    "name": STDERR_CONTAINER,
                    "command": ["/bin/sh", "-c", RELAY],
                    "args": [],
                    "volumeMounts": [{"name": "pipe", "mountPath": PIPE_DIRECTORY}],
                },
            ],
            "volumes": list(_volumes(run, settings)),
        },
    }


def deadline(run: Run, settings: Kubernetes) -> int:
    """Seconds after which the node ends the pod, whether or not a mediator is there to do it."""
    return math.ceil(settings.start_timeout.total_seconds() + run.timeout)


def _script_mounts(settings: Kubernetes) -> Iterator[Manifest]:
    yield {"name": "ticket", "mountPath": TICKET_DIRECTORY, "readOnly": True}
    yield {"name": "pipe", "mountPath": PIPE_DIRECTORY}
    yield {"name": "work", "mountPath": WORK_DIRECTORY}
    yield {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108 - of the container, an own volume
    if settings.scripts.claim is not None or settings.scripts.config_map is not None:
        yield {"name": "scripts", "mountPath": settings.scripts.directory, "readOnly": True}


def _volumes(run: Run, settings: Kubernetes) -> Iterator[Manifest]:
    yield {"name": "ticket", "secret": {"secretName": job_name(run.name), "defaultMode": 0o444}}
    for name in ("pipe", "work", "tmp"):
        yield {"name": name, "emptyDir": {}}
    scripts = settings.scripts
    if scripts.claim is not None:
        claim = {"claimName": scripts.claim, "readOnly": True}
        yield {"name": "scripts", "persistentVolumeClaim": claim}
    elif scripts.config_map is not None:
        config_map = {"name": scripts.config_map, "defaultMode": 0o555}
        yield {"name": "scripts", "configMap": config_map}
