"""`mediator shim push` and `verify` against a real cluster."""

from __future__ import annotations

import json

import pytest

from tests.cluster.keeper.conftest import Configure
from tests.cluster.keeper.support import DIRECTORY, SecureChange

FILES = ("notify.sh", "securechange-shim", "securechange-shim.conf", "securechange-shim.key")


def test_push_puts_every_file_there_and_the_shim_reaches_the_mediator(
    namespace: str, configure: Configure
) -> None:
    pod = SecureChange(namespace=namespace)
    pod.deploy()
    shim = configure()
    before = shim.run("verify")
    assert before.returncode == 1
    assert [line for line in before.stdout.splitlines() if "notify.sh is missing" in line]

    pushed = shim.run("push")
    assert pushed.returncode == 0, pushed.stdout + pushed.stderr
    assert pushed.stdout.index("sudo tos scripts sc push") < pushed.stdout.index("is missing")
    assert "securechange-shim is missing: written" in pushed.stdout
    assert "self-test: " in pushed.stdout
    assert ": reachable, " in pushed.stdout
    listed = pod.run(f"cd {DIRECTORY} && stat -c '%a %n' -- * .[!.]* 2>/dev/null")
    assert sorted(line.split()[1] for line in listed.splitlines()) == sorted(FILES)
    assert "600 securechange-shim.key" in listed

    again = shim.run("push")
    assert again.returncode == 0
    assert "all files are as they should be" in again.stdout
    assert "written" not in again.stdout
    assert shim.run("verify").returncode == 0


def test_a_ticket_goes_through_what_was_pushed(namespace: str, configure: Configure) -> None:
    pod = SecureChange(namespace=namespace)
    pod.deploy()
    shim = configure()
    assert shim.run("push").returncode == 0
    said = pod.run(
        f"printf '<ticket_info><id>1</id></ticket_info>' | SCW_EVENT=CREATE"
        f" {DIRECTORY}/notify.sh; echo code $?"
    )
    assert "code 0" in said


@pytest.mark.parametrize(
    ("change", "drift"),
    [
        pytest.param("printf ' ' >> securechange-shim", "content", id="a byte more"),
        pytest.param("chmod 644 notify.sh", "mode", id="no run bit"),
        pytest.param("chmod 644 securechange-shim.key", "mode", id="a key others can read"),
        pytest.param("sed -i s/http/https/ securechange-shim.conf", "content", id="settings"),
        pytest.param("rm securechange-shim.key", "missing", id="a file that is gone"),
        pytest.param("ln -sf /dev/null notify.sh", "other", id="a link"),
    ],
)
def test_drift_is_told_and_put_right(
    namespace: str, configure: Configure, change: str, drift: str
) -> None:
    pod = SecureChange(namespace=namespace)
    pod.deploy()
    shim = configure()
    assert shim.run("push").returncode == 0
    pod.run(f"cd {DIRECTORY} && {change}")

    found = shim.run("verify", "--json")
    assert found.returncode == 1
    (item,) = json.loads(found.stdout)["items"]
    assert [one["drift"] for one in item["files"]] == [drift]
    assert item["self_test"] is None

    put = shim.run("push", "--json")
    assert put.returncode == 0, put.stdout
    (item,) = json.loads(put.stdout)["items"]
    assert [(one["drift"], one["written"]) for one in item["files"]] == [(drift, True)]
    assert item["self_test"]["exit_code"] == 0
    assert shim.run("verify").returncode == 0


def test_all_pods_that_match_are_kept(namespace: str, configure: Configure) -> None:
    pods = SecureChange(namespace=namespace, replicas=2)
    pods.deploy()
    shim = configure()
    assert shim.run("push").returncode == 0
    first, second = pods.running()
    pods.run(f"rm {DIRECTORY}/notify.sh", pod=second)
    found = json.loads(shim.run("verify", "--json").stdout)
    drifted = {item["pod"]: len(item["files"]) for item in found["items"]}
    assert drifted == {first: 0, second: 1}


def test_no_secret_is_in_a_list_of_processes(namespace: str, configure: Configure) -> None:
    pod = SecureChange(namespace=namespace)
    pod.deploy()
    shim = configure()
    seen = "for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$f; echo; done >>/tmp/seen"
    pod.run(
        f"mv /usr/bin/chmod /tmp/real; printf '#!/bin/sh\\n{_quoted(seen)}\\nexec /tmp/real"
        ' "$@"\\n\' >/usr/bin/chmod; /tmp/real 755 /usr/bin/chmod'
    )
    assert shim.run("push").returncode == 0
    processes = pod.run("cat /tmp/seen")
    assert "bash -s -- /opt/tufin" in processes
    assert "kkkkkkkk" not in processes


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "'\\''")
