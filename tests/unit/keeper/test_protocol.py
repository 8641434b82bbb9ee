"""How a file in the pod differs from the one that belongs there."""

from __future__ import annotations

import pytest

from mediator.errors import SettingsError
from mediator.keeper.protocol import Drift, PodFile, Seen, difference

FILE = PodFile(name="notify.sh", data=b"#!/bin/bash\n", mode=0o755)
KEY = PodFile(name="securechange-shim.key", data=b"secret\n", mode=0o600)


@pytest.mark.parametrize(
    ("seen", "drift", "words"),
    [
        pytest.param(Seen(absent=True), Drift.MISSING, "is missing", id="absent"),
        pytest.param(Seen(plain=False), Drift.OTHER, "is not a plain file", id="a link"),
        pytest.param(
            Seen(mode=0o755, digest="0" * 64), Drift.CONTENT, "has other content", id="a byte"
        ),
        pytest.param(
            Seen(mode=0o644, digest=FILE.digest),
            Drift.MODE,
            "has mode 644 instead of 755",
            id="mode",
        ),
        pytest.param(Seen(digest=FILE.digest), Drift.MODE, "cannot be run", id="no stat there"),
        pytest.param(Seen(mode=0o755), Drift.CONTENT, "has other content", id="digest unknown"),
    ],
)
def test_a_difference_is_named(seen: Seen, drift: Drift, words: str) -> None:
    found = difference(FILE, seen)
    assert found is not None
    assert (found.drift, found.words) == (drift, words)


def test_a_file_as_it_should_be_does_not_differ() -> None:
    assert difference(FILE, Seen(mode=0o755, digest=FILE.digest)) is None
    assert difference(FILE, Seen(can_run=True, digest=FILE.digest)) is None
    assert difference(KEY, Seen(digest=KEY.digest)) is None


def test_bytes_that_were_compared_need_no_digest() -> None:
    assert difference(FILE, Seen(can_run=True), same=True) is None
    changed = difference(FILE, Seen(can_run=True), same=False)
    assert changed is not None
    assert changed.drift is Drift.CONTENT


@pytest.mark.parametrize("name", ["", "a/b", "a\nlook b", "a\x1b[2J"], ids=repr)
def test_a_name_that_is_no_line_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="cannot be the name"):
        PodFile(name=name, data=b"", mode=0o644)


def test_a_nul_byte_is_refused_instead_of_lost() -> None:
    with pytest.raises(SettingsError, match=r"notify\.sh holds a NUL byte"):
        PodFile(name="notify.sh", data=b"a\0b", mode=0o644)


def test_what_a_file_holds_is_in_no_repr() -> None:
    assert "secret" not in repr(difference(KEY, Seen(absent=True)))
