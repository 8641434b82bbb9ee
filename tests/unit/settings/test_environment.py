"""Variables named MEDIATOR_SECTION__KEY."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mediator.errors import SettingsError
from mediator.settings.load import load


@pytest.mark.parametrize(
    ("name", "value", "path", "expected"),
    [
        pytest.param("HTTP__PORT", "0", "http.port", 0, id="a number"),
        pytest.param("HTTP__BODY_LIMIT", "1MiB", "http.body_limit", 2**20, id="a size"),
        pytest.param("HTTP__BODY_LIMIT", "1024", "http.body_limit", 1024, id="plain bytes"),
        pytest.param("LOG__LEVEL", "debug", "log.level", "debug", id="a choice"),
        pytest.param(
            "DISPATCH__RETRY__FIRST", "7s", "dispatch.retry.first", timedelta(seconds=7), id="deep"
        ),
        pytest.param(
            "DISPATCH__PASS_ENV", '["TZ"]', "dispatch.pass_env", frozenset({"TZ"}), id="a list"
        ),
        pytest.param("DISPATCH__ENV__Mixed", "x", "dispatch.env", {"Mixed": "x"}, id="its case"),
    ],
)
def test_a_variable_states_a_key(name: str, value: str, path: str, expected: object) -> None:
    found: object = load(None, {f"MEDIATOR_{name}": value})
    for part in path.split("."):
        found = getattr(found, part)
    assert found == expected


def test_a_variable_can_state_a_policy_of_a_script() -> None:
    settings = load(None, {"MEDIATOR_POLICIES__Notify.py__TIMEOUT": "3s"})
    assert settings.policies["Notify.py"].timeout == timedelta(seconds=3)


def test_a_variable_for_one_key_wins_over_one_for_the_whole() -> None:
    environ = {
        "MEDIATOR_DISPATCH__RETRY__FIRST": "7s",
        "MEDIATOR_DISPATCH__RETRY": '{"first": "1s", "attempts": 3}',
    }
    retry = load(None, environ).dispatch.retry
    assert (retry.first, retry.attempts) == (timedelta(seconds=7), 3)


@pytest.mark.parametrize(
    "name",
    ["MEDIATOR_URL", "MEDIATOR_CONFIG", "MEDIATOR_PORT", "MEDIATOR_HTTP", "HTTP__PORT", "http"],
)
def test_variables_without_two_underscores_belong_to_others(name: str) -> None:
    assert load(None, {name: "tcp://10.0.0.1:80"}) == load(None)


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load(None, {"MEDIATOR_HTTP__PORT": "", "MEDIATOR_NONE__SUCH": ""}) == load(None)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        pytest.param(
            "MEDIATOR_HTPP__PORT",
            "1",
            "MEDIATOR_HTPP__PORT: there is no section htpp; did you mean MEDIATOR_HTTP__PORT?",
            id="a section nearly right",
        ),
        pytest.param(
            "MEDIATOR_ZONK__X",
            "1",
            "MEDIATOR_ZONK__X: there is no section zonk; "
            "known are http, scripts, environments, store, retention, auth, "
            "dispatch, kubernetes, log, tracing, shim, routes, policies.",
            id="a section like no other",
        ),
        pytest.param(
            "MEDIATOR_HTTP__PROT",
            "1",
            "MEDIATOR_HTTP__PROT: http.prot is not a key that exists; did you mean http.port?",
            id="a key nearly right",
        ),
        pytest.param(
            "MEDIATOR_HTTP__PORT__X",
            "1",
            "MEDIATOR_HTTP__PORT__X: http.port is a mapping, which is not a whole number.",
            id="too deep",
        ),
        pytest.param(
            "MEDIATOR_AUTH__KEYS",
            "[{hunter2",
            "MEDIATOR_AUTH__KEYS: auth.keys is not a list but text; write it as [...].",
            id="broken JSON for a list",
        ),
        pytest.param(
            "MEDIATOR_DISPATCH__RETRY",
            "5",
            "MEDIATOR_DISPATCH__RETRY: dispatch.retry is not a mapping of keys to values.",
            id="a number for a section",
        ),
        pytest.param(
            "MEDIATOR_DISPATCH__RETRY",
            "five",
            "MEDIATOR_DISPATCH__RETRY: dispatch.retry is not a mapping of keys to values "
            "but text; write it as {...}.",
            id="text for a section",
        ),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(None, {name: value})
    assert str(caught.value) == sentence
