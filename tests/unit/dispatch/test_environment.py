"""What a script is given: exactly what SecureChange gave, a few basics, and what was asked for."""

from __future__ import annotations

import os
import pwd
from dataclasses import replace
from pathlib import Path

import pytest

from mediator.dispatch.environment import (
    LOCAL_TIME,
    UnsplittableError,
    basics,
    environment,
    split,
    warm_ahead,
    warm_of,
)
from mediator.model.delivery import TicketFields
from mediator.runners.port import Warm
from mediator.tracing.context import TraceContext
from tests.unit.dispatch.support import DIRECTORY, delivery, policy, script

DAEMON = {
    "PATH": "/daemon/bin",
    "HOME": "/home/mediator",
    "LANG": "de_DE.UTF-8",
    "TZ": "Europe/Berlin",
    "MEDIATOR_AUTH__KEYS": "secret",
    "KUBERNETES_SERVICE_HOST": "10.0.0.1",
    "LD_PRELOAD": "/lib/evil.so",
    "PYTHONPATH": "/app",
    "HTTPS_PROXY": "http://user:secret@proxy",
}
BASICS = {name: DAEMON[name] for name in ("PATH", "HOME", "LANG", "TZ")}
OWN = {"MEDIATOR_DELIVERY_ID": "d1", "MEDIATOR_ATTEMPT": "3", "MEDIATOR_TICKET_ID": "7"}


def made(daemon: dict[str, str] = DAEMON, *, variables: object = None, **stated: object) -> object:
    given = delivery(variables=variables or {})
    return environment(given, policy(**stated), number=3, daemon=daemon)


def test_nothing_of_the_daemon_gets_through_but_the_basics() -> None:
    assert made() == {**BASICS, **OWN}


def test_every_variable_of_securechange_gets_through() -> None:
    given = {"SCW_EVENT": "CREATE", "SCW_ODD": "\udcff", "SCW_EMPTY": ""}
    assert made(variables=given) == {**BASICS, **OWN, **given}


def test_what_the_policy_passes_on_is_there_where_it_is_set() -> None:
    assert made(pass_env=["HTTPS_PROXY", "NO_PROXY"]) == {
        **BASICS,
        **OWN,
        "HTTPS_PROXY": DAEMON["HTTPS_PROXY"],
    }


def test_what_the_policy_sets_wins_over_what_it_passes_on() -> None:
    made_ = made(
        env={"HTTPS_PROXY": "none", "TZ": "UTC", "EXTRA": "1"}, pass_env=["HTTPS_PROXY", "TZ"]
    )
    assert made_ == {**BASICS, **OWN, "HTTPS_PROXY": "none", "TZ": "UTC", "EXTRA": "1"}


def test_what_was_asked_for_wins_over_what_securechange_gave() -> None:
    made_ = made(variables={"SCW_EVENT": "CREATE"}, env={"SCW_EVENT": "TEST"})
    assert made_ == {**BASICS, **OWN, "SCW_EVENT": "TEST"}


def test_nobody_overrides_what_the_mediator_says_of_the_attempt() -> None:
    stated = dict.fromkeys(OWN, "lie")
    assert made({**DAEMON, **stated}, env=stated, pass_env=list(stated)) == {**BASICS, **OWN}


def test_a_delivery_without_a_ticket_number_has_an_empty_one() -> None:
    made_ = environment(delivery(ticket=TicketFields()), policy(), number=1, daemon=DAEMON)
    assert made_["MEDIATOR_TICKET_ID"] == ""


@pytest.mark.parametrize("daemon", [{}, dict.fromkeys(BASICS, "")], ids=["unset", "empty"])
def test_a_daemon_without_the_basics_gives_what_a_login_would(
    daemon: dict[str, str], tmp_path: Path
) -> None:
    local = tmp_path / "localtime"
    local.touch()
    assert basics(daemon, local_time=local) == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": pwd.getpwuid(os.getuid()).pw_dir,
        "LANG": "C.UTF-8",
        "TZ": f":{local}",
    }


def test_without_the_basics_of_the_daemon_a_script_has_those_of_a_login() -> None:
    assert made({}) == {**OWN, **basics({}, local_time=LOCAL_TIME)}


def test_a_host_without_a_time_zone_has_utc(tmp_path: Path) -> None:
    assert basics({}, local_time=tmp_path / "none")["TZ"] == "UTC"


def test_a_user_without_an_entry_has_the_root_as_home() -> None:
    assert basics({}, user=3_999_999_999)["HOME"] == "/"


def test_a_trace_is_there_exactly_when_the_attempt_belongs_to_one() -> None:
    trace = TraceContext(trace_id="a" * 32, span_id="b" * 16, flags="01", state="c=d")
    stated = {"TRACEPARENT": "lie", "TRACESTATE": "lie"}
    made_ = environment(delivery(), policy(env=stated), number=3, daemon=DAEMON, trace=trace)
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    assert made_ == {**BASICS, **OWN, "TRACEPARENT": parent, "TRACESTATE": "c=d"}
    assert made({**DAEMON, **stated}) == {**BASICS, **OWN}


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [
        pytest.param(("--mail 'a b' c",), ("--mail", "a b", "c"), id="quotes"),
        pytest.param(("a", "b c"), ("a", "b", "c"), id="joined first"),
        pytest.param(("$HOME `id` *",), ("$HOME", "`id`", "*"), id="nothing is expanded"),
        pytest.param(('""',), ("",), id="an empty one"),
        pytest.param((), (), id="none"),
    ],
)
def test_arguments_are_split_as_a_shell_does(
    arguments: tuple[str, ...], seen: tuple[str, ...]
) -> None:
    assert split(arguments) == seen


@pytest.mark.parametrize("text", ["it's", 'a "b', "a\\"])
def test_what_cannot_be_split_is_told(text: str) -> None:
    with pytest.raises(UnsplittableError, match="its arguments cannot be split"):
        split((text,))


PYTHON = ("python3", "-u")
WARM = replace(script(runner="warm", preload=["a", "b.c"]), python=PYTHON)


def test_a_warm_python_script_is_a_fork_of_what_its_first_line_names() -> None:
    assert warm_of(WARM, WARM.policy) == Warm(
        command=PYTHON, script=DIRECTORY / "a.py", preload=("a", "b.c")
    )


def test_an_environment_of_its_own_wins_over_its_first_line() -> None:
    warm = warm_of(replace(WARM, interpreter=("/env/bin/python",)), WARM.policy)
    assert warm is not None
    assert warm.command == ("/env/bin/python",)


def test_other_scripts_are_no_forks() -> None:
    assert warm_of(replace(WARM, python=()), WARM.policy) is None
    assert warm_of(WARM, policy()) is None


def test_only_ready_warm_scripts_are_got_ready_ahead() -> None:
    broken = replace(WARM, problem="it is broken.")
    others = [broken, script(), replace(WARM, python=())]
    assert list(warm_ahead(others, {})) == []
    assert len(list(warm_ahead([*others, WARM], {}))) == 1


def test_what_is_got_ready_ahead_has_the_environment_of_the_attempts() -> None:
    daemon = {"PATH": "/bin", "PROXY": "p", "SECRET": "s"}
    warm = replace(WARM, policy=policy(runner="warm", env={"A": "1"}, pass_env=["PROXY"]))
    ((_, ahead),) = warm_ahead([warm], daemon)
    given = delivery(variables={"SCW_EVENT": "CREATE"})
    whole = environment(given, warm.policy, number=1, daemon=daemon)
    assert ahead == {
        name: value for name, value in whole.items() if not name.startswith(("SCW_", "MEDIATOR_"))
    }
