"""A script's environment: exactly what SecureChange gave, a few basics, and what was asked for."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from mediator.dispatch import environment as module
from mediator.dispatch.environment import environment
from mediator.model.delivery import TicketFields
from mediator.tracing.context import TraceContext
from tests.unit.dispatch.support import delivery, policy

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
    daemon: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    local = tmp_path / "localtime"
    local.touch()
    monkeypatch.setattr(module, "_LOCAL_TIME", local)
    assert made(daemon) == {
        **OWN,
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": pwd.getpwuid(os.getuid()).pw_dir,
        "LANG": "C.UTF-8",
        "TZ": f":{local}",
    }


def test_a_host_without_a_time_zone_has_utc(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "_LOCAL_TIME", tmp_path / "none")
    assert environment(delivery(), policy(), number=1, daemon={})["TZ"] == "UTC"


def test_a_user_without_an_entry_has_the_root_as_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "getuid", lambda: 3_999_999_999)
    assert environment(delivery(), policy(), number=1, daemon={})["HOME"] == "/"


def test_a_trace_is_there_exactly_when_the_attempt_belongs_to_one() -> None:
    trace = TraceContext(trace_id="a" * 32, span_id="b" * 16, flags="01", state="c=d")
    stated = {"TRACEPARENT": "lie", "TRACESTATE": "lie"}
    made_ = environment(delivery(), policy(env=stated), number=3, daemon=DAEMON, trace=trace)
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    assert made_ == {**BASICS, **OWN, "TRACEPARENT": parent, "TRACESTATE": "c=d"}
    assert made({**DAEMON, **stated}) == {**BASICS, **OWN}
