"""The house rules of `mediator/`, as far as a program can tell; the why is in docs/decisions."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "mediator"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts)
LARGEST = 500
"""Lines; what is longer has two subjects."""
NOUNS = {"rendering", "routing", "wiring"}
"""Nouns of the field, though they end in -ing."""


def name_of(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def classes_of(path: Path) -> Iterator[str]:
    return (node.name for node in ast.walk(tree_of(path)) if isinstance(node, ast.ClassDef))


def test_no_module_is_named_by_a_gerund() -> None:
    gerunds = [
        name_of(path)
        for path in MODULES
        if any(word.endswith("ing") and word not in NOUNS for word in path.stem.split("_"))
    ]
    assert gerunds == [], "name it by the noun it is about"


def test_no_class_name_means_two_things() -> None:
    places = defaultdict(list)
    for path in MODULES:
        for name in classes_of(path):
            places[name].append(name_of(path))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_it_is_for_and_has_one_subject(path: Path) -> None:
    assert ast.get_docstring(tree_of(path)) or path.name == "__main__.py"
    assert len(path.read_text().splitlines()) <= LARGEST, "split it by its nouns"
