"""The policy of a script: defaults, what it says of itself, what the settings say."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mediator.model.policy import (
    ROOTS,
    Kind,
    Limits,
    Order,
    Policy,
    PolicyDefaults,
    Retry,
    StatedPolicy,
    overlay,
    resolve,
)

DEFAULTS = PolicyDefaults(
    timeout=timedelta(minutes=5),
    interactive_timeout=timedelta(seconds=30),
    grace=timedelta(seconds=10),
    retry=Retry(attempts=7),
    env={"SHARED": "default", "OTHER": "kept"},
    pass_env=frozenset({"HTTPS_PROXY"}),
)


def stated(**keys: Any) -> StatedPolicy:
    return StatedPolicy.model_validate(keys)


def test_a_script_that_says_nothing_gets_the_defaults() -> None:
    policy = resolve(DEFAULTS)
    assert policy.kind is Kind.TRIGGER
    assert policy.timeout == timedelta(minutes=5)
    assert policy.retry == Retry(attempts=7)
    assert policy.order is Order.NONE
    assert policy.roots == ROOTS[Kind.TRIGGER]
    assert policy.give_up_on == {64, 65, 77, 78}


@pytest.mark.parametrize("kind", list(Kind))
def test_the_kind_decides_the_timeout_and_the_accepted_roots(kind: Kind) -> None:
    policy = resolve(DEFAULTS, stated(kind=kind))
    assert policy.timeout == timedelta(seconds=30 if kind.interactive else 300)
    assert policy.roots == ROOTS[kind]


def test_a_later_layer_wins_key_by_key_in_nested_tables_too() -> None:
    policy = resolve(
        DEFAULTS,
        stated(retry={"first": "1s", "longest": "1m"}, limits={"files": 64}, timeout="1m"),
        stated(retry={"longest": "2m"}, limits={"cpu": "9s"}),
    )
    assert policy.timeout == timedelta(minutes=1)
    assert policy.retry == Retry(
        attempts=7, first=timedelta(seconds=1), longest=timedelta(minutes=2)
    )
    assert policy.limits == Limits(files=64, cpu=timedelta(seconds=9))


def test_null_in_a_later_layer_goes_back_to_the_default() -> None:
    assert resolve(DEFAULTS, stated(timeout="1m"), stated(timeout=None)).timeout == timedelta(
        minutes=5
    )


def test_variables_add_up_and_the_most_special_one_wins() -> None:
    policy = resolve(DEFAULTS, stated(env={"SHARED": "own"}, pass_env=["TZ"]))
    assert policy.env == {"SHARED": "own", "OTHER": "kept"}
    assert policy.pass_env == {"HTTPS_PROXY", "TZ"}


def test_stated_policy_and_policy_have_the_same_keys() -> None:
    assert set(StatedPolicy.model_fields) == set(Policy.model_fields)


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param({"timout": "1s"}, id="an unknown key"),
        pytest.param({"retry": {"atempts": 1}}, id="an unknown nested key"),
        pytest.param({"concurrency": 0}, id="no slot at all"),
        pytest.param({"concurrency": True}, id="yes for a number"),
        pytest.param({"give_up_on": [0]}, id="giving up on success"),
        pytest.param({"env": {"1A": "x"}}, id="a variable name with a digit in front"),
        pytest.param({"timeout": "0s"}, id="no time at all"),
        pytest.param({"retry": {"attempts": 0}}, id="no attempt at all"),
        pytest.param({"kind": "conditional"}, id="an unknown kind"),
    ],
)
def test_a_wrong_policy_is_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        stated(**keys)


_TREES = st.recursive(
    st.integers() | st.lists(st.integers(), max_size=2),
    lambda children: st.dictionaries(st.sampled_from("abc"), children, max_size=3),
    max_leaves=8,
)
_MAPPINGS = st.dictionaries(st.sampled_from("abc"), _TREES, max_size=3)


@given(_MAPPINGS, _MAPPINGS, _MAPPINGS)
def test_laying_over_changes_nothing_where_nothing_is_stated_and_everything_where_it_is(
    below: dict[str, Any], middle: dict[str, Any], above: dict[str, Any]
) -> None:
    assert overlay(below, {}) == below
    assert overlay({}, above) == above
    assert overlay(above, above) == above
    assert overlay(overlay(below, above), above) == overlay(below, above)
    assert set(overlay(below, middle)) == set(below) | set(middle)
