"""Scripts that need the same share an environment."""

from __future__ import annotations

import pytest

from mediator.catalog.metadata import Need, in_an_environment, normalised, version_in


def test_spelling_order_and_repetition_do_not_matter() -> None:
    stated = ["Zope.Interface >=5,<6", "requests[SOCKS]==2.*", "zope_interface<6,>=5"]
    assert normalised(stated, "a.py") == ("requests[SOCKS]==2.*", "zope-interface<6,>=5")


def test_markers_and_addresses_are_kept() -> None:
    stated = ["a; python_version < '3.12'", "b @ https://example.org/b.whl"]
    assert normalised(stated, "a.py") == (
        'a; python_version < "3.12"',
        "b @ https://example.org/b.whl",
    )


@pytest.mark.parametrize(
    ("program", "version"),
    [("/usr/bin/python3.12", "3.12"), ("python3", ""), ("pypy3.10", "3.10"), ("", "")],
)
def test_the_version_in_a_name(program: str, version: str) -> None:
    assert version_in(program) == version


def test_options_in_the_first_line_do_not_divide_environments() -> None:
    one, other = Need(requirements=("a",), flags=("-u",)), Need(requirements=("a",))
    assert one != other
    assert one.shared == other.shared


def test_a_release_candidate_is_new_enough() -> None:
    assert Need(requires_python=">=3.11").accepts("3.12.0rc1")
    assert not Need(requires_python=">=3.13").accepts("3.12.9")


def test_a_relative_path_is_in_no_environment() -> None:
    assert not in_an_environment("python3")
