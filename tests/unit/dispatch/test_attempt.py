"""Why an attempt is stopped, and how what it writes reaches the log: as lines, with its ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import structlog
from structlog.testing import capture_logs

from mediator.dispatch.attempt import LONGEST, MOST, ScriptLines, Stop

Logs = list[structlog.typing.EventDict]


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def logs() -> Iterator[Logs]:
    with (
        structlog.contextvars.bound_contextvars(delivery_id="d1", attempt=2),
        capture_logs() as found,
    ):
        yield found


def told(logs: Logs) -> list[tuple[str, str]]:
    return [(line["stream"], line["line"]) for line in logs if line["event"] == "script output"]


def test_lines_are_put_together_from_pieces_of_each_stream(logs: Logs) -> None:
    lines = ScriptLines()
    for stream, data in (
        ("stdout", b"one\ntw"),
        ("stderr", b"oops\r\n"),
        ("stdout", b"o\n\nthree"),
    ):
        lines.write(stream, data)
    lines.close()
    assert told(logs) == [
        ("stdout", "one"),
        ("stderr", "oops"),
        ("stdout", "two"),
        ("stdout", ""),
        ("stdout", "three"),
    ]
    assert {(line["delivery_id"], line["attempt"]) for line in logs} == {("d1", 2)}


def test_ids_stay_where_it_is_called_from_elsewhere(logs: Logs) -> None:
    lines = ScriptLines()
    structlog.contextvars.clear_contextvars()
    lines.write("stdout", b"x\n")
    assert logs[0]["delivery_id"] == "d1"


def test_a_long_line_is_cut_and_the_next_one_is_whole(logs: Logs) -> None:
    lines = ScriptLines()
    for _ in range(100):
        lines.write("stdout", b"x" * 1000)
    assert logs == []
    lines.write("stdout", b"\nnext\n")
    assert told(logs) == [("stdout", "x" * LONGEST), ("stdout", "next")]
    assert [line["cut"] for line in logs] == [True, False]


def test_what_is_no_text_is_shown_all_the_same(logs: Logs) -> None:
    ScriptLines().write("stdout", b"\xff\x00\n")
    assert told(logs) == [("stdout", "\ufffd\x00")]


def test_more_lines_than_allowed_in_a_second_are_counted(logs: Logs) -> None:
    clock = Clock()
    lines = ScriptLines(clock=clock)
    lines.write("stdout", b"x\n" * (MOST + 7))
    assert len(logs) == MOST
    clock.time = 1.0
    lines.write("stdout", b"y\n")
    assert (logs[MOST]["event"], logs[MOST]["lines"]) == ("script output skipped", 7)
    assert logs[MOST + 1]["line"] == "y"


def test_what_was_skipped_last_is_told_at_the_end(logs: Logs) -> None:
    lines = ScriptLines(clock=Clock())
    lines.write("stdout", b"x\n" * (MOST + 1))
    lines.close()
    assert logs[-1]["event"] == "script output skipped"


@pytest.mark.parametrize(
    ("asked", "shutdown"),
    [
        ([Stop.shut_down], True),
        ([Stop.cancel], False),
        ([Stop.shut_down, Stop.cancel], False),
        ([Stop.cancel, Stop.shut_down], False),
        ([Stop.shut_down, Stop.shut_down], True),
        ([Stop.shut_down, Stop.cancel, Stop.shut_down], False),
    ],
    ids=["shutdown", "operator", "operator last", "operator first", "twice", "between"],
)
def test_the_last_reason_counts_but_a_shutdown_never_hides_an_operator(
    asked: list[Callable[[Stop], None]], *, shutdown: bool
) -> None:
    stop = Stop()
    assert not stop.event.is_set()
    for ask in asked:
        ask(stop)
    assert stop.event.is_set()
    assert stop.shutdown is shutdown
    assert not stop.leave.is_set()


@pytest.mark.parametrize(
    ("asked", "because"),
    [
        ([Stop.shut_down], "the mediator shuts down"),
        ([Stop.hand_over], "another mediator goes on with it"),
        ([Stop.hand_over, Stop.shut_down], "another mediator goes on with it"),
    ],
    ids=["shutdown", "taken over", "taken over, then shutdown"],
)
def test_what_survives_the_daemon_is_let_alone_and_the_reason_is_true(
    asked: list[Callable[[Stop], None]], because: str
) -> None:
    stop = Stop(survives_daemon=True)
    for ask in asked:
        ask(stop)
    assert (stop.event.is_set(), stop.leave.is_set()) == (False, True)
    assert (stop.left_because, stop.shutdown) == (because, False)
