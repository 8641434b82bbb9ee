"""Keep the texts at some paths of a document, and refuse a document that goes too far.

Only the texts asked for are kept, and only their beginnings: a document costs the same memory
whatever is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

MAX_DEPTH = 100
"""Elements inside each other; tickets have about six."""
MAX_ELEMENTS = 250_000
"""Elements of one document (about a quarter of a second of reading)."""
MAX_TAG = 256 * 1024
"""Bytes of one tag with its attributes, one comment, CDATA section or the like."""
MAX_NAMES = 1_000
"""Different names of elements and attributes."""
MAX_NAME = 256
"""Characters of one name with its namespace."""
MAX_TEXT = 1_000
"""Characters kept of one text."""

Path = tuple[str, ...]
"""Local names from below the root down: ("priority", "name")."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """What was kept of a document."""

    root: str
    """local name of the root element"""
    texts: Mapping[Path, str]
    """trimmed texts at the wanted paths, of the first element where several share a path"""
    bare: bool
    """the root has neither elements nor text in it"""


class Refused(Exception):
    """The document goes too far; the message says in what, the caller knows where."""


class Target:
    """Told by libxml2 about each part of a document."""

    def __init__(self, wanted: frozenset[Path], accept: Callable[[str], None]) -> None:
        self._accept = accept
        self._wanted = wanted
        self._ways = {path[:length] for path in wanted for length in range(1, len(path) + 1)}
        self._open: list[Path | None] = []
        self._texts: dict[Path, str] = {}
        self._met: set[Path] = set()
        self._names: set[str] = set()
        self._elements = 0
        self._root = ""
        self._root_text = False
        self._quiet_since = 0
        self._heard = False

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Follow a start tag when it is the first on a wanted path."""
        self._heard = True
        self._elements += 1
        self._check_limits((tag, *attributes))
        name = tag.rpartition("}")[2]
        if not self._open:
            self._root = name
            self._accept(name)
            self._open.append(())
            return
        parent = self._open[-1]
        path = None if parent is None else (*parent, name)
        followed = path is not None and path in self._ways and path not in self._met
        self._open.append(path if followed else None)
        if path is not None and followed:
            self._met.add(path)

    def end(self, _tag: str) -> None:
        """Go back to the parent."""
        self._heard = True
        self._open.pop()

    def data(self, text: str) -> None:
        """Keep the beginning of a wanted text. One text can come in many pieces."""
        self._heard = True
        path = self._open[-1]
        if path == ():
            self._root_text = self._root_text or not text.isspace()
        elif path in self._wanted and path is not None:
            kept = self._texts.get(path, "")
            more = text if kept else text.lstrip()
            self._texts[path] = kept + more[: MAX_TEXT - len(kept)]

    def comment(self, _text: str) -> None:
        """Comments are no part of any text."""
        self._heard = True

    def pi(self, _name: str, _text: str | None = None) -> None:
        """Processing instructions are not obeyed."""
        self._heard = True

    def doctype(self, *_declared: object) -> None:
        """Refuse any document type before a single entity of it is read."""
        raise Refused("it declares a document type (DOCTYPE), which is never accepted")

    def close(self) -> None:
        """Nothing to do at the end; lxml wants the method."""

    def fed(self, total: int) -> None:
        """Told after each step; refuses when libxml2 has long been collecting one thing."""
        if self._heard:
            self._heard, self._quiet_since = False, total
        elif total - self._quiet_since > MAX_TAG:
            raise Refused(f"a single tag, comment or CDATA section is longer than {MAX_TAG} bytes")

    def document(self) -> Document:
        """What was kept."""
        texts = {path: text.rstrip() for path, text in self._texts.items()}
        bare = self._elements == 1 and not self._root_text
        return Document(root=self._root, texts=texts, bare=bare)

    def _check_limits(self, names: tuple[str, ...]) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise Refused(f"its elements are nested deeper than {MAX_DEPTH}")
        if self._elements > MAX_ELEMENTS:
            raise Refused(f"it has more than {MAX_ELEMENTS} elements")
        if max(map(len, names)) > MAX_NAME:
            raise Refused(f"a name is longer than {MAX_NAME} characters")
        self._names.update(names)
        if len(self._names) > MAX_NAMES:
            raise Refused(f"it has more than {MAX_NAMES} different names")
