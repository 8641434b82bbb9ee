from __future__ import annotations

import pytest

from mediator.dispatch.environment import UnsplittableError, split


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [
        pytest.param(("--mail 'a b' c",), ("--mail", "a b", "c"), id="quotes"),
        pytest.param(("a", "b c"), ("a", "b", "c"), id="joined first"),
        pytest.param(("$HOME `id` *",), ("$HOME", "`id`", "*"), id="nothing is expanded"),
        pytest.param(('""',), ("",), id="an empty one"),
        pytest.param((), (), id="none"),
    ],
)
def test_arguments_are_split_as_a_shell_does(
    arguments: tuple[str, ...], seen: tuple[str, ...]
) -> None:
    assert split(arguments) == seen


@pytest.mark.parametrize("text", ["it's", 'a "b', "a\\"])
def test_what_cannot_be_split_is_told(text: str) -> None:
    with pytest.raises(UnsplittableError, match="its arguments cannot be split"):
        split((text,))
