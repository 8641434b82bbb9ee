"""The Job of an attempt, its pod, and the Secret with its ticket: pure builders.

A pod template is merged of four parts, each over the one before: safe defaults, the settings'
`pod_template`, the policy of the script, and what makes it an attempt. The Secret holds the ticket
and the program that starts the script, for any POSIX shell.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from mediator.kube.client import Manifest
from mediator.model.delivery import Outcome
from mediator.model.policy import EnvironmentSource, Limits, Pod, PodVolume
from mediator.runners.outcome import Stopped
from mediator.runners.port import Run
from mediator.settings.kubernetes import Kubernetes

MANAGED = "app.kubernetes.io/managed-by"
MANAGER = "securechange-mediator"
SELECTOR = f"{MANAGED}={MANAGER}"
"""Selects everything that a mediator made for an attempt."""
RUN = f"{MANAGER}/run"
SCRIPT = f"{MANAGER}/script"
RUN_NAME = f"{MANAGER}/run-name"
"""Annotation: what the mediator calls the run; not every such name is one in the cluster."""
STOPPED = f"{MANAGER}/stopped"
"""Annotation: why the mediator had an attempt ended."""

SCRIPT_CONTAINER = "script"
STDERR_CONTAINER = "stderr"

TICKET_DIRECTORY = "/mediator/ticket"
PIPE_DIRECTORY = "/mediator/pipe"
WORK_DIRECTORY = "/mediator/work"
PROGRAM = "start"
"""Key in the Secret of what starts the script."""
TICKET = "ticket"
"""Key in the Secret of what the script reads from its standard input."""
STDERR = f"{PIPE_DIRECTORY}/stderr"

_LONGEST = 52
"""Characters of a name: the cluster makes the pod's by adding some, and 63 are allowed."""
_UNFIT_NAME = re.compile(r"[^a-z0-9]+")
_UNFIT_LABEL = re.compile(r"[^A-Za-z0-9._-]+")

MOST = 1024 * 1024
"""Bytes a Secret can hold (https://kubernetes.io/docs/concepts/configuration/secret/)."""
_LEEWAY = 60
"""Seconds after a pod's deadline at which the Job has it ended, should its node not have."""
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

REFUSED = "refused: "
"""Begins the termination message of an attempt whose script could not be started."""
CANNOT_EXECUTE = 126
"""What shells end with in such a case."""
_MESSAGE = "/dev/termination-log"
_OF_THE_CLUSTER = (
    "KUBERNETES_PORT KUBERNETES_PORT_443_TCP KUBERNETES_PORT_443_TCP_ADDR "
    "KUBERNETES_PORT_443_TCP_PORT KUBERNETES_PORT_443_TCP_PROTO KUBERNETES_SERVICE_HOST "
    "KUBERNETES_SERVICE_PORT KUBERNETES_SERVICE_PORT_HTTPS"
)
"""Variables that every container is given, asked for or not."""

RELAY = f"mkfifo {STDERR} 2>/dev/null; exec <{STDERR}; trap '' TERM; exec cat"
"""What the other container runs.

It ends when the script and all it started have ended, and not before, so that nothing is lost; but
as long as there is no script it can be ended.
"""

END_NOW = {"spec": {"activeDeadlineSeconds": 1}}
"""Has a node end a pod as after its deadline: SIGTERM, grace, SIGKILL.

Unlike a pod that is deleted it stays: with its exit code, and with its log to be read to the end.
"""

_IDENTITY = ("name", "mountPath")
"""What tells one entry of a list from another when two are merged."""


def job(run: Run, pod: Pod, settings: Kubernetes) -> Manifest:
    """One pod, never a second one; removed by the cluster when no mediator comes to do it.

    It is made without a pod (`parallelism` 0), and let go when its Secret is there.
    """
    grace = max(1, math.ceil(run.grace))
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(run.name),
            "namespace": settings.namespace,
            "labels": labels(run),
            "annotations": {f"{MANAGER}/script-name": run.script, RUN_NAME: run.name},
        },
        "spec": {
            "parallelism": 0,
            "completions": 1,
            "backoffLimit": 0,
            "activeDeadlineSeconds": deadline(run, settings) + grace + _LEEWAY,
            "ttlSecondsAfterFinished": math.ceil(settings.keep_ended.total_seconds()),
            "template": pod_template(run, pod, settings),
        },
    }


def secret(run: Run, settings: Kubernetes, *, owner: str) -> Manifest:
    """What the script is given; it goes when the Job with the uid `owner` goes.

    Raises ValueError for what no process can be given, and `OverflowError` when it is too large.
    """
    program = PurePosixPath(settings.scripts.directory) / run.program.name
    data = {PROGRAM: starter(run, str(program)), TICKET: run.stdin}
    if (size := sum(map(len, data.values()))) > MOST:
        raise OverflowError(
            f"ticket, arguments and variables are {size} bytes together, and a Kubernetes Secret"
            f" holds at most {MOST}; give the script the runner process"
        )
    name = job_name(run.name)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": settings.namespace,
            "labels": labels(run),
            "ownerReferences": [
                {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": owner}
            ],
        },
        "type": "Opaque",
        "immutable": True,
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def stop_patch(stopped: Stopped, *, has_pod: bool) -> Manifest:
    """Leaves word in a Job that its attempt is to end, and why; without a pod it gets none."""
    word = json.dumps({"outcome": stopped.outcome, "reason": stopped.reason})
    patch: Manifest = {"metadata": {"annotations": {STOPPED: word}}}
    return patch if has_pod else {**patch, "spec": {"parallelism": 0}}


def stopped_before(job: Manifest) -> Stopped | None:
    """What an earlier mediator stopped, and why."""
    word = job["metadata"].get("annotations", {}).get(STOPPED)
    if word is None:
        return None
    said = json.loads(word)
    return Stopped(outcome=Outcome(said["outcome"]), reason=said["reason"])


def job_name(run: str) -> str:
    """The name of the Job and the Secret of a run; the same for the same run, always.

    A run that is named by delivery and attempt keeps its name; one that cannot gets a digest.
    """
    plain = f"mediator-{_UNFIT_NAME.sub('-', run.lower()).strip('-')}"
    if plain == f"mediator-{run}" and len(plain) <= _LONGEST:
        return plain
    return f"{plain[: _LONGEST - 17].rstrip('-')}-{hashlib.sha256(run.encode()).hexdigest()[:16]}"


def label(text: str) -> str:
    """The text as the value of a label, as near as that comes."""
    return _UNFIT_LABEL.sub("-", text)[:63].strip("._-")


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


def starter(run: Run, program: str) -> bytes:
    """The program that starts `program`, a path in the pod, as the run describes it.

    Raises ValueError for what no process can be given: NUL bytes, or `=` in a variable's name.
    """
    if any(not name or "=" in name for name in run.environment):
        raise ValueError("a variable's name is empty or contains '='")
    lines = (
        f"mkfifo {STDERR} 2>/dev/null",
        f"exec 2>{STDERR} || exit {CANNOT_EXECUTE}",
        f"refuse() {{ printf '{REFUSED}%s' \"$1\" >{_MESSAGE}; exit {CANNOT_EXECUTE}; }}",
        f"p={_quoted(program)}",
        '[ -e "$p" ] || refuse "there is no $p in the pod"',
        '[ -f "$p" ] || refuse "$p is not a file"',
        '[ -x "$p" ] || refuse "$p is not executable by the pod\'s user"',
        f"unset {_OF_THE_CLUSTER}",
        *_limits(run.limits),
        f"exec {_command(program, run.environment, run.arguments)} <{TICKET_DIRECTORY}/{TICKET}",
    )
    return os.fsencode("\n".join(lines) + "\n")


def _command(program: str, environment: Mapping[str, str], arguments: tuple[str, ...]) -> str:
    """`env` takes names that a shell would not hand on, but no program with `=` in its path."""
    variables = (_quoted(f"{name}={value}") for name, value in sorted(environment.items()))
    started = """/bin/sh -c 'exec "$0" "$@"' "$p\"""" if "=" in program else '"$p"'
    return " ".join(("env", *variables, started, *map(_quoted, arguments)))


def _quoted(text: str) -> str:
    if "\0" in text:
        raise ValueError("an argument or variable contains a NUL byte")
    return "'" + text.replace("'", "'\\''") + "'"


def _limits(limits: Limits) -> Iterator[str]:
    """Units are those of POSIX: seconds, KiB of memory, 512 bytes of a file."""
    yield "ulimit -c 0"  # a core dump would hold the ticket
    if limits.cpu is not None:
        yield f"ulimit -t {math.ceil(limits.cpu.total_seconds())}"
    if limits.file_size is not None:
        yield f"ulimit -f {math.ceil(limits.file_size / 512)}"
    if limits.files is not None:
        yield f"ulimit -n {limits.files}"
    if limits.memory is not None:
        yield f"ulimit -v {math.ceil(limits.memory / 1024)}"


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Manifest:
    """Both, key by key and nested; `above` wins, and a null in it removes what is below.

    Lists of objects are joined; entries of the same name (a container, a volume), or mounted at the
    same place, are merged. A list of words, such as a command, is replaced.
    """
    result = dict(below)
    for key, value in above.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _value(result.get(key), value)
    return result


def _value(below: Any, above: Any) -> Any:
    if isinstance(above, Mapping):
        return merged(below if isinstance(below, Mapping) else {}, above)
    if isinstance(above, list) and above and all(isinstance(entry, Mapping) for entry in above):
        return _joined(below if isinstance(below, list) else [], above)
    return above


def _joined(below: list[Any], above: list[Any]) -> list[Any]:
    result = list(below)
    for entry in above:
        same = [i for i, other in enumerate(result) if _name(other) == _name(entry) is not None]
        if same:
            result[same[0]] = merged(result[same[0]], entry)
        else:
            result.append(entry)
    return result


def _name(entry: Any) -> tuple[str, Any] | None:
    if not isinstance(entry, Mapping):
        return None
    found = [(key, entry[key]) for key in reversed(_IDENTITY) if key in entry]
    return found[0] if found else None
