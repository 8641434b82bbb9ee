"""Every link leads somewhere, and every page is found from the index."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
DOCS = REPOSITORY / "docs"
INDEX = DOCS / "README.md"
READ = ("tutorial", "how-to", "reference", "explanation")
SHELVES = {*READ, "decisions", "runbooks"}
PAGES = sorted(
    [
        *REPOSITORY.glob("*.md"),
        *DOCS.rglob("*.md"),
        REPOSITORY / "helm" / "mediator" / "README.md",
        REPOSITORY / "tests" / "samples" / "README.md",
    ]
)


def name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


each_page = pytest.mark.parametrize("path", PAGES, ids=name)


def links(path: Path) -> Iterator[tuple[Path, str]]:
    """File and anchor of every link that leads to a file of the repository."""
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if not re.match(r"[a-z]+:", target):
            file, _, anchor = target.partition("#")
            yield (path.parent / file).resolve() if file else path, anchor


def anchors(path: Path) -> set[str]:
    """What headings can be linked to by, as Git hosts make them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


@each_page
def test_every_link_and_its_anchor_lead_somewhere(path: Path) -> None:
    broken = [
        f"{file.name}#{anchor}"
        for file, anchor in links(path)
        if not file.exists() or (anchor and anchor not in anchors(file))
    ]
    assert broken == []


@each_page
def test_a_link_is_named_by_words_and_not_by_its_path(path: Path) -> None:
    if path.is_relative_to(DOCS):
        assert re.findall(r"\[[^\]`]*\.md\]\(", path.read_text()) == []


def test_every_page_is_reached_from_the_index() -> None:
    found, left = set[Path](), [INDEX]
    while left:
        page = left.pop()
        if page not in found and page.suffix == ".md":
            found.add(page)
            left += [file for file, _ in links(page) if file.is_relative_to(DOCS)]
    assert sorted(name(page) for page in set(DOCS.rglob("*.md")) - found) == []


def test_every_page_but_index_glossary_and_questions_is_on_a_shelf() -> None:
    loose = {page.name for page in DOCS.glob("*.md")}
    assert loose == {"README.md", "glossary.md", "faq.md"}
    assert {page.relative_to(DOCS).parts[0] for page in DOCS.glob("*/**/*.md")} == SHELVES


def test_the_index_says_of_every_page_of_a_shelf_which_question_it_answers() -> None:
    row = re.compile(r"^\| \[[^\]]+\]\(([^)#]+\.md)\) \| .+\? \|$", re.MULTILINE)
    rows = row.findall(INDEX.read_text())
    pages = {str(page.relative_to(DOCS)) for shelf in READ for page in (DOCS / shelf).rglob("*.md")}
    assert pages - set(rows) == set()
    assert len(rows) == len(set(rows))
