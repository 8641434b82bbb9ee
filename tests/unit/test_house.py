"""The house rules of `mediator/`, as far as a program can tell; the why is in docs/decisions."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "mediator"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts)
LARGEST = 500
"""Lines; what is longer has two subjects."""
NOUNS = {"rendering", "routing"}
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


def packages_of(module: str) -> Iterator[tuple[str, str]]:
    """Each package on the way to a module below `mediator`, with what is looked for in it."""
    names = module.split(".")
    for depth in range(2, len(names)):
        if (REPOSITORY / Path(*names[:depth])).is_dir():
            yield ".".join(names[:depth]), names[depth]


def imports_of(path: Path) -> Iterator[str]:
    """The modules of `mediator` that a module imports, by either form of import."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mediator."):
            for alias in node.names:
                yield f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Constant) and str(node.value).startswith("mediator."):
            yield str(node.value)  # what import_module is given, or text


def is_module(name: str) -> bool:
    file = REPOSITORY / Path(*name.split("."))
    return file.is_dir() or file.with_suffix(".py").is_file()


def taken() -> dict[str, set[str]]:
    """For each package: the modules in it that others import."""
    found = defaultdict[str, set[str]](set)
    for path in MODULES:
        importer = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        for name in imports_of(path):
            module = name if is_module(name) else name.rpartition(".")[0]
            if not is_module(module):
                continue
            for package, offered in packages_of(module):
                if not importer.startswith(f"{package}."):
                    found[package].add(offered)
    return found


@pytest.mark.parametrize(
    "package", sorted({path.parent for path in MODULES} - {PACKAGE}), ids=name_of
)
def test_a_package_offers_the_modules_that_others_import_and_no_more(package: Path) -> None:
    name = name_of(package).replace("/", ".")
    offered = {each for each in import_module(name).__all__ if each.islower()}
    assert offered == taken()[name], f"{name}.__all__ is not what other packages import of it"


def test_the_page_on_architecture_says_what_each_module_answers() -> None:
    page = (REPOSITORY / "docs" / "explanation" / "architecture.md").read_text()
    told = set(re.findall(r"`(?:[a-z_]+/)*([a-z_]+)`", page))
    rooms = {
        path.stem
        for path in MODULES
        if path.stem not in {"__init__", "__main__"} and PACKAGE / "cli" not in path.parents
    }
    assert rooms - told == set()
