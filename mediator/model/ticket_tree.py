"""The quick way for a small document: libxml2 reads it in one piece, then the tree is looked at.

Telling a target about each tag hands the interpreter's lock over and back for every one of them.
That costs little alone and much beside a busy thread, and the store's writer is one. Here nothing
is refused: whatever is unusual is left to the strict way, which says what and where.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from lxml import etree

from mediator.model.ticket_target import MAX_DEPTH, MAX_NAME, MAX_NAMES, MAX_TEXT, Document, Path

SMALL = 64 * 1024
"""Bytes; tickets have about two thousand. The tree takes a few ten times as much."""

_unusual = etree.XPath(
    f"count(//*|//@*) > {MAX_NAMES}"
    f" or //*[string-length(name()) > {MAX_NAME}] or //@*[string-length(name()) > {MAX_NAME}]"
    f" or {'/*' * (MAX_DEPTH + 1)}"
)


def read_small(
    body: bytes, wanted: frozenset[Path], accept: Callable[[str], None]
) -> Document | None:
    """The document, or None when the strict way has to look at it.

    No document type can be in it, so there is nothing that libxml2 could expand or fetch.
    """
    if len(body) > SMALL or b"<!DOCTYPE" in body or b"\0" in body:
        return None
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    try:
        root = etree.fromstring(body, parser)
    except etree.XMLSyntaxError:
        return None
    if _unusual(root):
        return None
    name = _local_name(root)
    accept(name)
    texts: dict[Path, str] = {}
    _collect(root, (), wanted, texts)
    bare = not any(isinstance(child.tag, str) for child in root) and not _text(root)
    return Document(root=name, texts=texts, bare=bare)


def _collect(
    element: etree._Element, path: Path, wanted: frozenset[Path], texts: dict[Path, str]
) -> None:
    """Follow the first child on each way to a wanted text."""
    ways = _ways(wanted)
    met: set[Path] = set()
    for child in element:
        if not isinstance(child.tag, str):  # a comment or a processing instruction
            continue
        way = (*path, _local_name(child))
        if way not in ways or way in met:
            continue
        met.add(way)
        if way in wanted:
            texts[way] = _text(child)
        if len(child):
            _collect(child, way, wanted, texts)


@lru_cache(maxsize=8)
def _ways(wanted: frozenset[Path]) -> frozenset[Path]:
    return frozenset(path[:n] for path in wanted for n in range(1, len(path) + 1))


def _text(element: etree._Element) -> str:
    """What stands directly in an element, trimmed, its beginning."""
    text = element.text or ""
    if len(element):
        text += "".join(child.tail or "" for child in element)
    return text.lstrip()[:MAX_TEXT].rstrip()


def _local_name(element: etree._Element) -> str:
    return str(element.tag).rpartition("}")[2]
