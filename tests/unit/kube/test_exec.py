"""What the API server says at the end of a command."""

from __future__ import annotations

import json

import pytest

from mediator.kube.client import KubernetesError
from mediator.kube.exec import exit_code


def failure(message: str, *causes: dict[str, str]) -> bytes:
    return json.dumps(
        {"status": "Failure", "message": message, "details": {"causes": list(causes)}}
    ).encode()


def test_success_is_0() -> None:
    assert exit_code(b'{"metadata":{},"status":"Success"}', ["bash"]) == 0


def test_a_code_is_the_code() -> None:
    status = failure("command terminated", {"reason": "ExitCode", "message": "75"})
    assert exit_code(status, ["bash"]) == 75


def test_a_shell_that_does_not_find_a_file_is_not_taken_for_no_shell() -> None:
    status = failure("command terminated", {"reason": "ExitCode", "message": "127"})
    assert exit_code(status, ["bash"]) == 127


def test_a_container_without_the_command_is_told_in_a_sentence() -> None:
    status = failure('"bash": executable file not found in $PATH', {"message": "said again"})
    with pytest.raises(KubernetesError, match="the container has no bash"):
        exit_code(status, ["bash", "-s"])


@pytest.mark.parametrize("status", [b"", b"[]", b"\xff", b'{"details":{"causes":[7]}}'], ids=repr)
def test_an_answer_that_is_none_is_refused(status: bytes) -> None:
    with pytest.raises(KubernetesError, match="cannot be read"):
        exit_code(status, ["bash"])


def test_why_nothing_was_started_is_passed_on() -> None:
    with pytest.raises(KubernetesError, match="could not be started there: container not running"):
        exit_code(failure("container not running"), ["bash"])
