from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mediator.runners.output import BoundedOutput

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
