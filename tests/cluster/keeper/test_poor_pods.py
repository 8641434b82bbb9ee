"""Pods that lack something, and pods that are not there."""

from __future__ import annotations

import json

import pytest

from tests.cluster.keeper.conftest import Configure
from tests.cluster.keeper.support import DIRECTORY, SecureChange


def test_without_sha256sum_and_stat_contents_are_compared(
    namespace: str, configure: Configure
) -> None:
    pod = SecureChange(namespace=namespace, prepare="rm -f /usr/bin/sha256sum /usr/bin/stat")
    pod.deploy()
    shim = configure()
    pushed = shim.run("push")
    assert pushed.returncode == 0, pushed.stdout + pushed.stderr
    assert shim.run("verify").returncode == 0
    pod.run(f"printf ' ' >>{DIRECTORY}/securechange-shim.conf; chmod 644 {DIRECTORY}/notify.sh")
    found = shim.run("verify")
    assert found.returncode == 1
    assert "securechange-shim.conf has other content" in found.stdout
    assert "notify.sh cannot be run" in found.stdout


@pytest.mark.parametrize("command", ["chmod", "mv"])
def test_a_container_that_cannot_be_written_to_is_told_in_a_sentence(
    namespace: str, configure: Configure, command: str
) -> None:
    pod = SecureChange(namespace=namespace, prepare=f"rm -f /usr/bin/{command} /bin/{command}")
    pod.deploy()
    pushed = configure().run("push")
    assert pushed.returncode == 1
    assert f"the container has no {command}, so files cannot be written there" in pushed.stdout
    assert pod.run(f"ls -A {DIRECTORY}") == ""


def test_a_container_without_bash_is_told_in_a_sentence(
    namespace: str, configure: Configure
) -> None:
    pod = SecureChange(namespace=namespace, prepare="mv /bin/bash /bin/gone")
    pod.deploy()
    found = configure().run("verify")
    assert found.returncode == 75
    assert "the container has no bash, which must be there to look into it" in found.stdout


def test_a_directory_that_cannot_be_written_is_told_with_every_file(
    namespace: str, configure: Configure
) -> None:
    pod = SecureChange(namespace=namespace, read_only=True)
    pod.deploy()
    pushed = configure().run("push")
    assert pushed.returncode == 1
    assert "4 of 4 files could not be written" in pushed.stdout
    assert "Read-only file system" in pushed.stdout


def test_a_command_that_hangs_there_is_given_up(namespace: str, configure: Configure) -> None:
    hang = "printf '#!/bin/sh\\nsleep 1000\\n' >/usr/bin/sha256sum"
    pod = SecureChange(namespace=namespace)
    pod.deploy()
    shim = configure(exec_timeout="3s")
    assert shim.run("push").returncode == 0
    pod.run(hang)
    found = shim.run("verify")
    assert found.returncode == 75
    assert "bash did not end there within 3 s" in found.stdout


def test_pods_that_are_not_there_are_told(namespace: str, configure: Configure) -> None:
    found = configure().run("verify")
    assert found.returncode == 75
    assert f"no pod in namespace {namespace} has the labels app=securechange" in found.stderr


def test_a_container_that_is_not_in_the_pod_is_told(namespace: str, configure: Configure) -> None:
    SecureChange(namespace=namespace).deploy()
    found = configure(container="nginx").run("verify", "--json")
    assert found.returncode == 75
    (item,) = json.loads(found.stdout)["items"]
    assert item["problem"] == "it has no container nginx, but server; see shim.container"


def test_a_mediator_that_is_not_reachable_from_there_is_told(
    namespace: str, configure: Configure
) -> None:
    SecureChange(namespace=namespace).deploy()
    pushed = configure(url="http://127.0.0.1:1").run("push")
    assert pushed.returncode == 75
    assert "not reachable" in pushed.stdout
    assert "the self-test failed with exit code 75" in pushed.stdout


def test_a_selector_is_never_guessed(namespace: str, configure: Configure) -> None:
    del namespace
    found = configure(selector="").run("push")
    assert found.returncode == 78
    assert "shim.selector is not set" in found.stderr
