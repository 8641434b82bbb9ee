"""A namespace of a real cluster as its user sees it: by kubectl and Helm, and by the real shim."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.conditions import eventually_true
from tests.support.helm import CHART
from tests.support.mediator import KEY, OPERATOR

IMAGE = "localhost/mediator"
_HAND_OVER = r"""
shim=(/opt/mediator/lib/python3*/site-packages/mediator/shim/securechange-shim)
hand_over() { # number
    local status=0
    printf '<ticket_info><id>%d</id></ticket_info>' "$1" |
        SCW_EVENT=CREATE bash "${shim[0]}" --script "$SCRIPT" || status=$?
    printf '\nnumber %d status %d\n' "$1" "$status"
}
work() { # first: every fourth, until told to stop
    local -i number
    for ((number = $1; number <= LIMIT; number += 4)); do
        [[ ! -e /tmp/stop ]] || return 0
        hand_over "$number"
        sleep 0.5
    done
}
for first in 1 2 3 4; do
    work "$first" &
done
wait
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Namespace:
    """One namespace."""

    name: str
    kubectl: tuple[str, ...]

    def call(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Call kubectl in it; a failure is for the caller to look at."""
        return _run([*self.kubectl, "--namespace", self.name, *arguments], stdin=stdin)

    def must(self, *arguments: str, stdin: str = "") -> str:
        """Call kubectl in it; what it writes."""
        return _must(self.call(*arguments, stdin=stdin))

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Make objects, or change them."""
        listed = {"apiVersion": "v1", "kind": "List", "items": [dict(each) for each in objects]}
        self.must("apply", "--filename", "-", stdin=json.dumps(listed))

    def secret(self, name: str, entries: Mapping[str, str]) -> None:
        """Make a Secret of texts."""
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name},
                "stringData": dict(entries),
            }
        )

    def get(self, *arguments: str) -> dict[str, Any]:
        """What the cluster knows of something."""
        found: dict[str, Any] = json.loads(self.must("get", *arguments, "--output", "json"))
        return found

    def free_address(self) -> str:
        """An address for a Service that nobody has: a cluster without DNS has no other name."""
        self.must("create", "service", "clusterip", "probe", "--tcp=80")
        address: str = self.get("service", "probe")["spec"]["clusterIP"]
        self.must("delete", "service", "probe")
        return address

    def deliveries(self, deployment: str = "mediator") -> list[dict[str, Any]]:
        """All that the mediator has kept."""
        command = ("mediator", "deliveries", "list", "--all", "--json")
        where = ("exec", f"deployment/{deployment}", "--container", "mediator", "--")
        found: list[dict[str, Any]] = json.loads(self.must(*where, *command))["items"]
        return found

    def describe(self) -> str:
        """What somebody looks at who wants to know why it does not work."""
        pods = self.call("describe", "pods").stdout
        logs = self.call("logs", "--selector=app.kubernetes.io/name=mediator", "--all-containers")
        return f"{pods}\n{logs.stdout}{logs.stderr}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """The release `mediator` of the chart in a namespace, by one version of Helm."""

    helm: Path
    kubeconfig: Path
    namespace: Namespace

    def call(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Call Helm for the namespace; a failure is for the caller to look at."""
        where = [f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace.name}"]
        return _run([str(self.helm), *arguments, *where], stdin=stdin)

    def must(self, *arguments: str, stdin: str = "") -> str:
        """Call it; what it writes."""
        done = self.call(*arguments, stdin=stdin)
        if done.returncode != 0:
            done = subprocess.CompletedProcess(
                done.args, done.returncode, done.stdout, done.stderr + self.namespace.describe()
            )
        return _must(done)

    def install(self, values: Mapping[str, Any], *, chart: Path = CHART) -> str:
        """Install it and wait until it is ready; the notes."""
        return self.must(
            *("install", "mediator", str(chart), "--values", "-", "--wait", "--timeout", "3m"),
            stdin=json.dumps(dict(values)),
        )

    def upgrade(self, values: Mapping[str, Any], *options: str) -> str:
        """Upgrade it and wait until the new pods are ready."""
        return self.must(*_upgrade(*options), stdin=json.dumps(dict(values)))

    def refused_upgrade(self, values: Mapping[str, Any], *options: str) -> str:
        """Upgrade to something that does not work; what Helm says."""
        done = self.call(*_upgrade(*options), stdin=json.dumps(dict(values)))
        assert done.returncode != 0, done.stdout
        return done.stderr

    def rollback(self) -> None:
        """Back to the revision before, and wait."""
        self.must("rollback", "mediator", "--wait", "--timeout", "3m")

    def test(self) -> str:
        """`helm test`, with what its pod wrote."""
        return self.must("test", "mediator", "--logs", "--timeout", "2m")

    def status(self) -> dict[str, Any]:
        """What Helm knows of the release."""
        found: dict[str, Any] = json.loads(self.must("status", "mediator", "--output", "json"))
        return found


def _upgrade(*options: str) -> tuple[str, ...]:
    waiting = options or ("--wait", "--timeout", "3m")
    return ("upgrade", "mediator", str(CHART), "--values", "-", *waiting)


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """A pod that hands tickets over by the real shim, four at a time, until it is told to stop."""

    namespace: Namespace
    pod: str = "securechange"

    def start(self, *, url: str, script: str, limit: int = 2000, tag: str = "slim") -> None:
        """Start it, and wait for the first ticket that was taken."""
        self.namespace.apply(_load_pod(self.pod, url=url, script=script, limit=limit, tag=tag))
        eventually_true(self.accepted)

    def stop(self) -> None:
        """Have it end what it does."""
        self.namespace.must("exec", self.pod, "--", "touch", "/tmp/stop")  # noqa: S108 - in a pod
        self.wait()

    def wait(self) -> None:
        """Until it has ended; a hand-over may try again for a while."""
        eventually_true(lambda: self._phase() == "Succeeded", seconds=180)

    def _phase(self) -> str:
        phase: str = self.namespace.get("pod", self.pod)["status"]["phase"]
        return phase

    def statuses(self) -> dict[int, int]:
        """Number of a ticket → exit code of the shim."""
        lines = self.log().splitlines()
        words = [line.split() for line in lines if line.startswith("number ")]
        return {int(number): int(status) for _, number, _, status in words}

    def accepted(self) -> set[int]:
        """The numbers of the tickets that were taken."""
        return {number for number, status in self.statuses().items() if status == 0}

    def log(self) -> str:
        """Its log, empty before it runs."""
        return self.namespace.call("logs", self.pod).stdout


def secrets() -> dict[str, str]:
    """The entries of the Secret that the chart wants by default."""
    return {"securechange.key": KEY.secret.decode(), "operator.token": OPERATOR}


def _load_pod(name: str, *, url: str, script: str, limit: int, tag: str) -> dict[str, Any]:
    settings = {
        "MEDIATOR_URL": url,
        "MEDIATOR_KEY_ID": KEY.id,
        "MEDIATOR_KEY_FILE": "/key/securechange.key",
        "MEDIATOR_TIMEOUT": "150",
        "SCRIPT": script,
        "LIMIT": str(limit),
    }
    container = {
        "name": "shim",
        "image": f"{IMAGE}:{tag}",
        "imagePullPolicy": "Never",
        "command": ["bash", "-uc", _HAND_OVER],
        "env": [{"name": key, "value": value} for key, value in settings.items()],
        "volumeMounts": [{"name": "key", "mountPath": "/key", "readOnly": True}],
    }
    secret = {"secretName": "mediator-auth", "defaultMode": 0o440}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "enableServiceLinks": False,
            "securityContext": {"runAsUser": 65532, "fsGroup": 65532},
            "containers": [container],
            "volumes": [{"name": "key", "secret": secret}],
        },
    }


def _run(command: Sequence[str], *, stdin: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(command), input=stdin, capture_output=True, text=True, check=False, timeout=300
    )


def _must(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, f"{' '.join(done.args)}\n{done.stdout}{done.stderr}"
    return done.stdout
