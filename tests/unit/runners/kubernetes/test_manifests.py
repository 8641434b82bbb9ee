from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from mediator.model.policy import Limits, Pod
from mediator.runners.kubernetes.manifests import job, secret
from mediator.runners.port import Run
from mediator.settings.kubernetes import Kubernetes

NAME = "01945d3e-7a3a-7000-8000-000000000001-2"


def run(**changes: Any) -> Run:
    values: dict[str, Any] = {
        "name": NAME,
        "program": Path("/srv/scripts/notify.py"),
        "arguments": ("it's", "b"),
        "environment": {"SCW_EVENT": "ADVANCE"},
        "stdin": b"<ticket_info/>",
        "timeout": 90.0,
        "grace": 9.5,
        "script": "notify.py",
        **changes,
    }
    return Run(**values)


LABELS = {
    "app.kubernetes.io/managed-by": "securechange-mediator",
    "securechange-mediator/run": f"mediator-{NAME}",
    "securechange-mediator/script": "notify.py",
}
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
RELAY = (
    "mkfifo /mediator/pipe/stderr 2>/dev/null; exec </mediator/pipe/stderr; trap '' TERM; exec cat"
)


def test_a_job_is_this_whole_object() -> None:
    settings = Kubernetes.model_validate(
        {"namespace": "scripts", "image": "python:3.13", "scripts": {"claim": "scripts"}}
    )
    assert job(run(), Pod(), settings) == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"mediator-{NAME}",
            "namespace": "scripts",
            "labels": LABELS,
            "annotations": {
                "securechange-mediator/run-name": NAME,
                "securechange-mediator/script-name": "notify.py",
            },
        },
        "spec": {
            "parallelism": 0,
            "completions": 1,
            "backoffLimit": 0,
            "activeDeadlineSeconds": 300 + 90 + 10 + 60,
            "ttlSecondsAfterFinished": 86400,
            "template": {
                "metadata": {"labels": LABELS},
                "spec": {
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "restartPolicy": "Never",
                    "shareProcessNamespace": True,
                    "terminationGracePeriodSeconds": 10,
                    "activeDeadlineSeconds": 390,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": 65532,
                        "runAsGroup": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [
                        {
                            "name": "script",
                            "image": "python:3.13",
                            "command": ["/bin/sh", "/mediator/ticket/start"],
                            "args": [],
                            "workingDir": "/mediator/work",
                            "env": [
                                {"name": "HOME", "value": "/mediator/work"},
                                {"name": "LANG", "value": "C.UTF-8"},
                                {"name": "TZ", "value": "UTC"},
                            ],
                            "securityContext": RESTRICTED,
                            "terminationMessagePath": "/dev/termination-log",
                            "terminationMessagePolicy": "File",
                            "volumeMounts": [
                                {
                                    "name": "ticket",
                                    "mountPath": "/mediator/ticket",
                                    "readOnly": True,
                                },
                                {"name": "pipe", "mountPath": "/mediator/pipe"},
                                {"name": "work", "mountPath": "/mediator/work"},
                                {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - in the pod
                                {
                                    "name": "scripts",
                                    "mountPath": "/mediator/scripts",
                                    "readOnly": True,
                                },
                            ],
                        },
                        {
                            "name": "stderr",
                            "image": "python:3.13",
                            "command": ["/bin/sh", "-c", RELAY],
                            "args": [],
                            "resources": {
                                "requests": {"cpu": "5m", "memory": "16Mi"},
                                "limits": {"cpu": "500m", "memory": "64Mi"},
                            },
                            "securityContext": RESTRICTED,
                            "volumeMounts": [{"name": "pipe", "mountPath": "/mediator/pipe"}],
                        },
                    ],
                    "volumes": [
                        {
                            "name": "ticket",
                            "secret": {"secretName": f"mediator-{NAME}", "defaultMode": 0o444},
                        },
                        {"name": "pipe", "emptyDir": {}},
                        {"name": "work", "emptyDir": {}},
                        {"name": "tmp", "emptyDir": {}},
                        {
                            "name": "scripts",
                            "persistentVolumeClaim": {"claimName": "scripts", "readOnly": True},
                        },
                    ],
                },
            },
        },
    }


def test_a_secret_is_this_whole_object_and_belongs_to_its_job() -> None:
    made = secret(run(), Kubernetes(namespace="scripts"), owner="uid-1")
    program = base64.b64decode(made["data"].pop("start")).decode()
    assert made == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": f"mediator-{NAME}",
            "namespace": "scripts",
            "labels": LABELS,
            "ownerReferences": [
                {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "name": f"mediator-{NAME}",
                    "uid": "uid-1",
                }
            ],
        },
        "type": "Opaque",
        "immutable": True,
        "data": {"ticket": base64.b64encode(b"<ticket_info/>").decode()},
    }
    assert "p='/mediator/scripts/notify.py'\n" in program
    assert program.splitlines()[-1] == (
        "exec env 'SCW_EVENT=ADVANCE' \"$p\" 'it'\\''s' 'b' </mediator/ticket/ticket"
    )


def test_a_ticket_beyond_what_a_secret_holds_is_refused_by_its_size() -> None:
    secret(run(stdin=b"x" * (1024 * 1024 - 2000)), Kubernetes(), owner="u")
    with pytest.raises(OverflowError, match="a Kubernetes Secret holds at most 1048576"):
        secret(run(stdin=b"x" * (1024 * 1024)), Kubernetes(), owner="u")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"arguments": ("a\0b",)}, id="a NUL byte"),
        pytest.param({"environment": {"a=b": "c"}}, id="a name with ="),
    ],
)
def test_what_no_process_can_be_given_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"NUL byte|'='"):
        secret(run(**changes), Kubernetes(), owner="u")


def script_container(made: dict[str, Any]) -> dict[str, Any]:
    containers: list[dict[str, Any]] = made["spec"]["template"]["spec"]["containers"]
    return containers[0]


def test_a_policy_reaches_the_pod() -> None:
    pod = Pod.model_validate(
        {
            "image": "mine",
            "resources": {"limits": {"memory": "64Mi"}},
            "node_selector": {"disk": "fast"},
            "tolerations": [{"key": "a", "operator": "Exists"}],
            "service_account": "notifier",
            "env_from": [{"secret": "password"}, {"config_map": "hosts"}],
            "volumes": [{"claim": "data", "path": "/data", "writable": True}],
            "labels": {"team": "network"},
        }
    )
    made = job(run(), pod, Kubernetes(image="other"))
    spec, script = made["spec"]["template"]["spec"], script_container(made)
    assert [container["image"] for container in spec["containers"]] == ["mine", "mine"]
    assert script["resources"]["limits"] == {"memory": "64Mi"}
    assert spec["nodeSelector"] == {"disk": "fast"}
    assert spec["tolerations"] == [{"key": "a", "operator": "Exists"}]
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("notifier", True)
    assert script["envFrom"] == [
        {"secretRef": {"name": "password"}},
        {"configMapRef": {"name": "hosts"}},
    ]
    assert {"name": "volume-0", "mountPath": "/data", "readOnly": False} in script["volumeMounts"]
    assert {"name": "volume-0", "persistentVolumeClaim": {"claimName": "data"}} in spec["volumes"]
    assert made["spec"]["template"]["metadata"]["labels"] == {**LABELS, "team": "network"}


def test_a_template_goes_under_what_the_runner_must_own() -> None:
    template = {
        "metadata": {"annotations": {"a": "b"}, "labels": {"securechange-mediator/run": "x"}},
        "spec": {
            "restartPolicy": "Always",
            "imagePullSecrets": [{"name": "registry"}],
            "securityContext": {"runAsUser": None, "fsGroup": 5},
            "containers": [
                {"name": "script", "command": ["true"], "env": [{"name": "TZ", "value": "CET"}]}
            ],
        },
    }
    made = job(run(), Pod(), Kubernetes(pod_template=template))
    spec, script = made["spec"]["template"]["spec"], script_container(made)
    assert made["spec"]["template"]["metadata"] == {"annotations": {"a": "b"}, "labels": LABELS}
    assert (spec["restartPolicy"], spec["imagePullSecrets"]) == ("Never", [{"name": "registry"}])
    assert "runAsUser" not in spec["securityContext"]
    assert (spec["securityContext"]["fsGroup"], spec["securityContext"]["runAsNonRoot"]) == (
        5,
        True,
    )
    assert script["command"] == ["/bin/sh", "/mediator/ticket/start"]
    assert {"name": "TZ", "value": "CET"} in script["env"]


def test_limits_are_set_in_the_units_of_posix() -> None:
    limits = Limits.model_validate(
        {"cpu": "1500ms", "memory": 2**20, "file_size": 1000, "files": 32}
    )
    program = base64.b64decode(
        secret(run(limits=limits), Kubernetes(), owner="u")["data"]["start"]
    ).decode()
    expected = ["ulimit -c 0", "ulimit -t 2", "ulimit -f 2", "ulimit -n 32", "ulimit -v 1024"]
    assert [line for line in program.splitlines() if line.startswith("ulimit")] == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param(NAME, f"mediator-{NAME}", id="a delivery and an attempt"),
        pytest.param("delivery/1", "mediator-delivery-1-abc5ba840c8bfb59", id="odd characters"),
        pytest.param("x" * 99, f"mediator-{'x' * 26}-", id="long"),
    ],
)
def test_a_run_has_one_name_in_the_cluster(name: str, expected: str) -> None:
    made = str(job(run(name=name), Pod(), Kubernetes())["metadata"]["name"])
    assert made.startswith(expected[:35])
    assert len(made) <= 52
