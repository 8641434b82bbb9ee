"""Why an attempt is stopped: an operator's wish is stronger than a shutdown."""

from __future__ import annotations

import pytest

from mediator.dispatch.attempt import Stop


@pytest.mark.parametrize(
    ("asked", "shutdown"),
    [
        ([True], True),
        ([False], False),
        ([True, False], False),
        ([False, True], False),
        ([True, True], True),
        ([True, False, True], False),
    ],
    ids=str,
)
def test_the_last_reason_counts_but_a_shutdown_never_hides_an_operator(
    asked: list[bool], *, shutdown: bool
) -> None:
    stop = Stop()
    assert not stop.event.is_set()
    for reason in asked:
        stop.ask(shutdown=reason)
    assert stop.event.is_set()
    assert stop.shutdown is shutdown
