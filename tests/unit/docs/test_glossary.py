"""The glossary says each word of the project once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

import pytest

from mediator.metrics.labels import EVENTS
from mediator.model.delivery import State
from mediator.model.policy import Kind, RunnerName

PAGE = (Path(__file__).parents[3] / "docs" / "glossary.md").read_text()
ENTRIES = re.findall(r"^\| (.+?) \| (.+) \|$", PAGE, re.MULTILINE)[2:]
WORDS = [word for word, _ in ENTRIES]
MEANINGS = dict(ENTRIES)


def letters(word: str) -> str:
    """What words are sorted and compared by."""
    return re.sub(r"[^a-z0-9]", "", word.lower())


def test_no_word_stands_twice() -> None:
    found = [letters(word) for word in WORDS]
    assert len(found) == len(set(found))


def test_the_words_are_sorted() -> None:
    assert sorted(WORDS, key=letters) == WORDS


def test_every_word_has_one_or_two_sentences() -> None:
    for word, meaning in ENTRIES:
        assert meaning.endswith("."), word
        assert len(re.findall(r"\.(?: |$)", meaning)) <= 2, word


@pytest.mark.parametrize("state", State)
def test_every_state_is_an_entry_of_its_own(state: State) -> None:
    assert state in MEANINGS


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        pytest.param("state", State, id="states"),
        pytest.param("kind", Kind, id="kinds"),
        pytest.param("runner", RunnerName, id="runners"),
    ],
)
def test_an_entry_names_every_word_of_the_code_and_no_other(
    entry: str, words: Iterable[StrEnum]
) -> None:
    assert set(re.findall(r"`([a-z-]+)`", MEANINGS[entry])) == {str(word) for word in words}


def test_the_entry_of_events_names_each_that_securechange_has() -> None:
    named = re.findall(r"\b[A-Z][A-Z_]{2,}\b", MEANINGS["event"].replace("`SCW_EVENT`", ""))
    assert set(named) == EVENTS
