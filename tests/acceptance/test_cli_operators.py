"""What operators do from a shell, against a real mediator."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.conditions import eventually_true
from tests.support.mediator import Handover, Mediator

SUBJECT = "[bold]x[/bold] &#x202e;&lt;b&gt; \u00e9"
TICKET = f"<ticket_info><id>4711</id><subject>{SUBJECT}</subject></ticket_info>"
FAIL = """#!/usr/bin/env python3
import sys
print("\\x1b[2Jcleared [red]not red[/red]")
sys.exit(65)
"""
WAIT = """#!/usr/bin/env python3
import signal
signal.pause()
"""


SCRIPTS = {
    "fail.py": FAIL,
    "other.py": FAIL,
    "found.py": FAIL,
    "unasked.py": FAIL,
    "wait.py": WAIT,
    "bad.py": "#!/no/such/interpreter\n",
}


@contextmanager
def started(home: Path) -> Iterator[Mediator]:
    made = Mediator(home, settings={"dispatch": {"deduplicate": "0s"}})
    for name, text in SCRIPTS.items():
        made.script(name, text)
    with made:
        # The file then says where the mediator is, as an operator's on the same machine does.
        made.configure({"http": {"port": urlsplit(made.url).port}})
        yield made


@pytest.fixture(scope="module")
def mediator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mediator]:
    """For tests that look at deliveries of their own, among those of others."""
    with started(tmp_path_factory.mktemp("mediator")) as mediator:
        yield mediator


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Mediator]:
    """For a test that wants to be alone."""
    with started(tmp_path) as mediator:
        yield mediator


def send(mediator: Mediator, script: str, *arguments: str) -> str:
    handover = Handover(script=script, arguments=arguments, body=TICKET.encode())
    return mediator.hand_over(handover)


def listed(mediator: Mediator, *arguments: str) -> list[dict[str, Any]]:
    done = mediator.cli("deliveries", "list", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    items: list[dict[str, Any]] = json.loads(done.stdout)["items"]
    return items


def shown(mediator: Mediator, delivery_id: str) -> dict[str, Any]:
    done = mediator.cli("deliveries", "show", delivery_id, "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def tried_twice(mediator: Mediator, delivery_id: str) -> None:
    eventually_true(lambda: mediator.delivery(delivery_id)["attempts_made"] == 2)


def refused(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line on stderr."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("mediator: ")
    return line


def test_scripts_are_listed_with_what_stops_them(mediator: Mediator) -> None:
    done = mediator.cli("scripts")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert set(rows) == {"SCRIPT", *SCRIPTS}
    assert " ready " in rows["fail.py"]
    assert "not ready" in rows["bad.py"]
    assert "/no/such/interpreter" in rows["bad.py"]
    names = [item["name"] for item in json.loads(mediator.cli("scripts", "--json").stdout)["items"]]
    assert sorted(names) == sorted(SCRIPTS)


def test_a_script_is_shown_with_its_policy_in_force(mediator: Mediator) -> None:
    done = mediator.cli("scripts", "fail")
    assert done.returncode == 0, done.stderr
    values = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert values["policy.timeout"] == "5m"
    assert values["policy.give_up_on"] == "64 65 77 78"
    assert "did you mean fail?" in refused(mediator.cli("scripts", "fial"), 1)


def test_a_list_in_a_pipe_is_whole_and_a_subject_cannot_act(own: Mediator) -> None:
    delivery_id = send(own, "fail")
    own.until(delivery_id, "dead")
    done = own.cli("deliveries", "list")
    header, row = done.stdout.splitlines()
    assert header.split() == [
        "ID", "RECEIVED", "STATE", "SCRIPT", "EVENT", "TICKET", "SUBJECT", "TRIED", "LAST", "ERROR",
    ]  # fmt: skip
    assert row.startswith(f"{delivery_id}  ")
    assert "  4711  " in row
    assert "  [bold]x[/bold] \\u202e<b> \u00e9  " in row
    assert row.endswith("ended with exit code 65; the policy gives up on this exit code")


def test_a_delivery_is_shown_whole_and_its_output_cannot_act(mediator: Mediator) -> None:
    delivery_id = send(mediator, "fail", "one", "two words")
    mediator.until(delivery_id, "dead")
    lines = mediator.cli("deliveries", "show", delivery_id).stdout.splitlines()
    assert "arguments       one 'two words'" in lines
    assert "attempt 1: failed, exit code 65" in lines
    assert "\\x1b[2Jcleared [red]not red[/red]" in lines
    attempt = shown(mediator, delivery_id)["attempts"][0]
    assert attempt["stdout"] == "\x1b[2Jcleared [red]not red[/red]\n"


def test_lists_are_narrowed_and_follow_their_pages(own: Mediator) -> None:
    failed = [send(own, "fail", str(number)) for number in range(3)]
    waiting = send(own, "wait")
    everything = [waiting, *reversed(failed)]
    assert [item["id"] for item in listed(own, "--all")] == everything
    assert [item["id"] for item in listed(own, "--limit", "2")] == everything[:2]
    assert [item["id"] for item in listed(own, "--script", "wait.py")] == [waiting]
    own.until(waiting, "running")
    assert [item["id"] for item in listed(own, "--state", "running")] == [waiting]
    assert len(listed(own, "--ticket", "4711", "--event", "CREATE", "--since", "1h")) == 4
    assert listed(own, "--ticket", "4712") == []
    assert listed(own, "--until", "2001-01-01") == []
    cut = own.cli("deliveries", "list", "--limit", "2")
    assert "--all" in cut.stderr
    assert "'bla' is neither a time" in refused(own.cli("deliveries", "list", "--since", "bla"), 64)


def test_one_that_cannot_be_retried_does_not_stop_the_others(mediator: Mediator) -> None:
    first, second = send(mediator, "fail", "1"), send(mediator, "fail", "2")
    for delivery_id in (first, second):
        mediator.until(delivery_id, "dead")
    done = mediator.cli("deliveries", "retry", first, "nope", second)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [f"{first}  pending", f"{second}  pending"]
    assert done.stderr.splitlines() == [
        "mediator: there is no delivery nope; `mediator deliveries list` shows them"
    ]
    for delivery_id in (first, second):
        tried_twice(mediator, delivery_id)


def test_all_that_a_search_finds_is_retried_the_oldest_first(mediator: Mediator) -> None:
    failed = [send(mediator, "found", str(number)) for number in range(3)]
    other = send(mediator, "other")
    for delivery_id in (*failed, other):
        mediator.until(delivery_id, "dead")
    done = mediator.cli("deliveries", "retry", "--script", "found.py", "--since", "1h", "--yes")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == failed
    assert done.stderr.splitlines() == ["mediator: retry: 3 of 3 done"]
    for delivery_id in failed:
        tried_twice(mediator, delivery_id)
        mediator.until(delivery_id, "dead")
    assert shown(mediator, other)["attempts_made"] == 1
    done = mediator.cli(
        "deliveries", "retry", "--script", "found.py", "--limit", "1", "-y", "--json"
    )
    assert [item["id"] for item in json.loads(done.stdout)["items"]] == failed[-1:]


def test_many_are_cancelled_and_only_what_waits(own: Mediator) -> None:
    running = [send(own, "wait", str(number)) for number in range(8)]
    for delivery_id in running:
        own.until(delivery_id, "running")
    waiting = {send(own, "wait", f"waiting {number}") for number in range(20)}
    done = own.cli("deliveries", "cancel", "--script", "wait.py", "--yes")
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.splitlines()) == {f"{name}  cancelled" for name in waiting}
    assert len(listed(own, "--state", "running")) == len(running)


def test_nothing_is_done_to_many_unasked(mediator: Mediator) -> None:
    delivery_id = send(mediator, "unasked")
    mediator.until(delivery_id, "dead")
    line = refused(mediator.cli("deliveries", "retry", "--script", "unasked.py"), 64)
    assert "this would retry 1 dead delivery; --yes does it" in line
    assert "say which deliveries" in refused(mediator.cli("deliveries", "retry", "--yes"), 64)
    both = mediator.cli("deliveries", "retry", delivery_id, "--state", "dead")
    assert "not both" in refused(both, 64)
    assert "neither a time" in refused(
        mediator.cli("deliveries", "retry", "--since", "bla", "--yes"), 64
    )
    assert shown(mediator, delivery_id)["attempts_made"] == 1


def test_to_nothing_nothing_is_done(mediator: Mediator) -> None:
    done = mediator.cli("deliveries", "retry", "--script", "wait.py")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "mediator: retry: 0 of 0 done\n"
    done = mediator.cli("deliveries", "retry", "--script", "wait.py", "--json")
    assert json.loads(done.stdout) == {"items": [], "next": None}


def test_a_viewer_does_nothing_to_many(mediator: Mediator) -> None:
    mediator.until(send(mediator, "fail"), "dead")
    viewer = ["--token-file", "viewer.token", "--yes"]
    done = mediator.cli("deliveries", "retry", "--state", "dead", *viewer)
    assert (done.returncode, done.stdout) == (77, "")
    assert "needs the role operator" in done.stderr


def test_a_running_delivery_is_cancelled_and_an_ended_one_is_not(mediator: Mediator) -> None:
    delivery_id = send(mediator, "wait")
    mediator.until(delivery_id, "running")
    done = mediator.cli("deliveries", "cancel", delivery_id, "--json")
    assert done.returncode == 0, done.stderr
    assert [item["id"] for item in json.loads(done.stdout)["items"]] == [delivery_id]
    mediator.until(delivery_id, "cancelled")
    assert "already ended" in refused(mediator.cli("deliveries", "cancel", delivery_id), 1)


def test_an_unknown_delivery_is_said(mediator: Mediator) -> None:
    assert "there is no delivery a/b" in refused(mediator.cli("deliveries", "show", "a/b"), 1)


def test_a_viewer_looks_and_does_not_touch(mediator: Mediator) -> None:
    delivery_id = send(mediator, "fail")
    mediator.until(delivery_id, "dead")
    viewer = ["--token-file", "viewer.token"]
    assert mediator.cli("deliveries", "show", delivery_id, *viewer).returncode == 0
    for verb in ("retry", "cancel"):
        line = refused(mediator.cli("deliveries", verb, delivery_id, "nope", *viewer), 77)
        assert "needs the role operator" in line
    assert shown(mediator, delivery_id)["attempts_made"] == 1


def test_a_wrong_token_is_said(mediator: Mediator) -> None:
    mediator.cli("new-key", "wrong.token")
    for command in (["scripts"], ["deliveries", "list"]):
        line = refused(mediator.cli(*command, "--token-file", "wrong.token"), 77)
        assert "is not one of auth.tokens" in line


def test_an_operator_elsewhere_says_where_it_is(own: Mediator) -> None:
    own.configure({"http": {"port": 0}})
    line = refused(own.cli("scripts"), 78)
    assert "http.port is 0" in line
    assert "--url" in line
    assert own.cli("scripts", "--url", f"{own.url}/").returncode == 0


def test_a_mediator_that_does_not_run_is_unreachable(own: Mediator) -> None:
    own.terminate()
    for command in (["scripts"], ["deliveries", "list"], ["send", "fail"]):
        line = refused(own.cli(*command), 75)
        assert f"the mediator at {own.url} cannot be reached (connection refused)" in line
        assert "`mediator serve`" in line
