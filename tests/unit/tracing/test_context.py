"""A trace context is read as W3C Trace Context has it, and what is not valid is no context."""

from __future__ import annotations

import pytest

from mediator.tracing.context import LONGEST_STATE, TraceContext, read_context

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


def test_both_headers_are_read_and_written() -> None:
    context = read_context([PARENT], ["rojo=1", "congo=t61"])
    assert context == TraceContext(
        trace_id=TRACE, span_id=SPAN, flags="01", state="rojo=1,congo=t61"
    )
    assert context.traceparent == PARENT
    assert context.variables == {"TRACEPARENT": PARENT, "TRACESTATE": "rojo=1,congo=t61"}


def test_without_a_state_there_is_no_variable_of_it() -> None:
    context = read_context([PARENT])
    assert context is not None
    assert context.variables == {"TRACEPARENT": PARENT}


def test_a_version_that_is_not_known_is_read_as_far_as_it_is() -> None:
    context = read_context([f"cc-{TRACE}-{SPAN}-01-what-comes-later"])
    assert context is not None
    assert context.traceparent == PARENT


@pytest.mark.parametrize(
    "parents",
    [
        pytest.param([], id="none"),
        pytest.param([PARENT, PARENT], id="two"),
        pytest.param([""], id="empty"),
        pytest.param([PARENT.upper()], id="capitals"),
        pytest.param([f"ff-{TRACE}-{SPAN}-01"], id="the version that is none"),
        pytest.param([f"{PARENT}-more"], id="more than version 00 has"),
        pytest.param([f"cc-{TRACE}-{SPAN}-01more"], id="more without a dash"),
        pytest.param([f"00-{'0' * 32}-{SPAN}-01"], id="no trace"),
        pytest.param([f"00-{TRACE}-{'0' * 16}-01"], id="no span"),
        pytest.param([f"00-{TRACE[1:]}-{SPAN}-01"], id="too short"),
        pytest.param([f"{PARENT}\n"], id="a line feed"),
        pytest.param([f" {PARENT}"], id="a blank"),
    ],
)
def test_what_is_not_valid_is_no_context(parents: list[str]) -> None:
    assert read_context(parents, ["a=1"]) is None


@pytest.mark.parametrize(
    "states",
    [
        pytest.param(["a" * (LONGEST_STATE + 1)], id="too long"),
        pytest.param(["a=1\nb=2"], id="a line feed"),
        pytest.param(["a=\u00fc"], id="not ASCII"),
        pytest.param(["a=\udcff"], id="no text"),
        pytest.param(["  "], id="blank"),
    ],
)
def test_a_state_that_is_not_valid_is_left_out(states: list[str]) -> None:
    context = read_context([PARENT], states)
    assert context is not None
    assert context.state == ""
