"""What is kept of what scripts write, and what is held of it while they run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mediator.runners.output import HELD, BoundedOutput, LiveOutputs, OutputTail, Piece

chunks = st.lists(st.binary(max_size=40), max_size=20)


@given(chunks=chunks, limit=st.integers(min_value=1, max_value=100))
def test_head_and_tail_are_those_of_the_whole(chunks: list[bytes], limit: int) -> None:
    bounded, whole = BoundedOutput(limit), b"".join(chunks)
    for chunk in chunks:
        bounded.add(chunk)
    output = bounded.output()
    assert output.size == len(whole)
    assert whole.startswith(output.head)
    assert whole.endswith(output.tail)
    assert len(output.head) + len(output.tail) == min(len(whole), limit)


@given(chunks=chunks, limit=st.integers(min_value=1, max_value=100))
def test_what_fits_is_all_head(chunks: list[bytes], limit: int) -> None:
    bounded, whole = BoundedOutput(limit), b"".join(chunks)[:limit]
    bounded.add(whole)
    output = bounded.output()
    assert (output.head, output.tail, output.truncated) == (whole, b"", False)


@given(chunks=chunks, limit=st.integers(min_value=1, max_value=100))
def test_looking_at_it_changes_nothing(chunks: list[bytes], limit: int) -> None:
    looked, not_looked = BoundedOutput(limit), BoundedOutput(limit)
    for chunk in chunks:
        looked.add(chunk)
        looked.output()
        not_looked.add(chunk)
    assert looked.output() == not_looked.output()


def test_an_odd_byte_goes_to_the_head() -> None:
    bounded = BoundedOutput(5)
    bounded.add(b"0123456789")
    output = bounded.output()
    assert (output.head, output.tail, output.omitted) == (b"012", b"89", 5)


WRITES = st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(max_size=20)))


def read(live: OutputTail, place: int = 0) -> list[tuple[str, bytes]]:
    return [(piece.stream, piece.data) for piece in live.since(place)]


def test_each_stream_is_held_in_the_order_of_writing() -> None:
    live = OutputTail(number=1)
    live.write("stdout", b"a")
    live.write("stdout", b"b")
    live.write("stderr", b"c")
    live.write("stdout", b"d")
    assert read(live) == [("stdout", b"ab"), ("stderr", b"c"), ("stdout", b"d")]
    assert live.sizes == {"stdout": 3, "stderr": 1}


def test_a_reader_goes_on_where_it_was_also_within_a_piece() -> None:
    live = OutputTail(number=1)
    live.write("stdout", b"abc")
    place = live.last
    live.write("stdout", b"def")
    assert read(live, place) == [("stdout", b"def")]
    assert read(live, live.last) == []


def test_a_script_that_writes_for_ever_costs_no_more_than_the_bound() -> None:
    live = OutputTail(number=1)
    for number in range(100):
        live.write("stdout", bytes([number]) * 10_000)
    held = b"".join(piece.data for piece in live.since(0))
    assert len(held) <= HELD
    assert held.endswith(bytes([99]) * 10_000)
    assert live.last == 1_000_000
    assert live.first == live.last - len(held)


def test_a_script_that_writes_to_both_streams_in_turn_is_bounded_too() -> None:
    live = OutputTail(number=1)
    for _ in range(10_000):
        live.write("stdout", b"o")
        live.write("stderr", b"e")
    pieces = list(live.since(0))
    assert len(pieces) <= 4096
    assert live.last - live.first == len(pieces)


@given(WRITES, st.integers(min_value=0, max_value=300))
def test_what_is_read_is_exactly_what_was_written_behind_the_place(
    writes: list[tuple[str, bytes]], place: int
) -> None:
    live = OutputTail(number=1)
    for stream, data in writes:
        live.write(stream, data)
    whole = b"".join(data for _, data in writes)
    assert b"".join(piece.data for piece in live.since(place)) == whole[place:]


def test_readers_are_told_of_begin_output_and_end() -> None:
    outputs = LiveOutputs()
    with outputs.follow("one") as told:
        with outputs.attempt("one", 1):
            assert told.is_set()
            told.clear()
            outputs.write("one", 1, "stdout", b"x")
            assert told.is_set()
            told.clear()
            live = outputs.find("one", 1)
            assert live is not None
            assert list(live.since(0)) == [Piece("stdout", b"x")]
        assert told.is_set()
        assert live.over
    assert outputs.find("one", 1) is None


def test_nothing_is_left_when_attempts_and_readers_have_gone() -> None:
    outputs = LiveOutputs()
    with outputs.follow("one"), outputs.attempt("one", 1), outputs.attempt("one", 2):
        outputs.write("other", 1, "stdout", b"nobody runs it here")
    assert not outputs.deliveries
