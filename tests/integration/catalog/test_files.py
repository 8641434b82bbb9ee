"""Whether a file is open for writing, as far as the kernel tells."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mediator.catalog.files import has_writer


def asked(path: Path) -> bool:
    with path.open("rb") as file:
        return has_writer(file.fileno())


def test_a_writer_is_seen_until_it_closes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.sh"
    with path.open("w"):
        assert asked(path)
    assert not asked(path)


def test_readers_do_not_count_and_the_lease_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "a.sh"
    path.touch()
    with path.open("rb"):
        assert not asked(path)
        assert not asked(path)
        path.open("a").close()  # a lease that was kept would hold this up, and signal us


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_of_another_users_file_nothing_is_known(tmp_path: Path) -> None:
    path = tmp_path / "a.sh"
    with path.open("w"), path.open("rb") as file:
        os.seteuid(65534)
        try:
            assert not has_writer(file.fileno())
        finally:
            os.seteuid(0)
