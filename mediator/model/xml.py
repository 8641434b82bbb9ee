"""Look into a document that a stranger wrote, and keep a few texts of it, in bounded memory.

What an attacker could use is refused, not repaired: any document type declaration (so no entity of
its own, no external file, no billion laughs), encodings nobody needs, and excesses of depth, size
of one tag, elements and names. XInclude is never processed.

A small document, as tickets are, is read in one piece, then its tree is looked at. Every other one,
and every small one with anything wrong in it, is read strictly: no tree is built, libxml2 tells a
target about each tag, and the target stops it where it goes too far and knows the place.

libxml2 keeps every element and attribute name it ever saw, for all documents of a thread, and
after about 100 MB of names takes no new one. So the names of one document are bounded too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from lxml import etree

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
SMALL = 64 * 1024
"""Bytes; tickets have about two thousand. The tree takes a few ten times as much."""

Path = tuple[str, ...]
"""Local names from below the root down: ("priority", "name")."""

_STEP = 16 * 1024
_ENCODINGS = frozenset({"utf-8", "utf8", "utf-16", "us-ascii", "ascii", "iso-8859-1", "latin1"})
_DECLARED = re.compile(
    rb"(?:\xef\xbb\xbf)?<\?xml\s[^>]{0,200}?encoding\s*=\s*[\"']([^\"'>]{0,100})"
)
_UTF_32 = (b"\xff\xfe\0\0", b"\0\0\xfe\xff", b"<\0\0\0", b"\0\0\0<")

_REASONS: Mapping[int, str] = {
    etree.ErrorTypes.ERR_DOCUMENT_EMPTY: "it does not start with a tag",
    etree.ErrorTypes.ERR_DOCUMENT_END: "there is something after its end",
    etree.ErrorTypes.ERR_INVALID_CHAR: "it holds a character that XML does not allow",
    etree.ErrorTypes.ERR_INVALID_CHARREF: "it refers to a character that XML does not allow",
    etree.ErrorTypes.ERR_UNDECLARED_ENTITY: "it uses an entity that XML does not define",
    etree.ErrorTypes.ERR_UNSUPPORTED_ENCODING: "its character encoding is not known here",
    etree.ErrorTypes.ERR_INVALID_ENCODING: "it is not written in the character encoding it claims",
    etree.ErrorTypes.ERR_TAG_NOT_FINISHED: "it breaks off before its last tag",
    etree.ErrorTypes.ERR_GT_REQUIRED: "a tag is not closed by >",
    etree.ErrorTypes.ERR_TAG_NAME_MISMATCH: "an end tag does not fit its start tag",
    etree.ErrorTypes.ERR_ATTRIBUTE_REDEFINED: "a tag has the same attribute twice",
    etree.ErrorTypes.ERR_RESERVED_XML_NAME: "there is something before its XML declaration",
    etree.ErrorTypes.ERR_NAME_TOO_LONG: "a name is too long",
    etree.ErrorTypes.ERR_COMMENT_NOT_FINISHED: "a comment is not closed",
    etree.ErrorTypes.ERR_CDATA_NOT_FINISHED: "a CDATA section is not closed or too long",
}
_unusual = etree.XPath(
    f"count(//*|//@*) > {MAX_NAMES}"
    f" or //*[string-length(name()) > {MAX_NAME}] or //@*[string-length(name()) > {MAX_NAME}]"
    f" or {'/*' * (MAX_DEPTH + 1)}"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """What was kept of a document."""

    root: str
    """local name of the root element"""
    texts: Mapping[Path, str]
    """trimmed texts at the wanted paths, of the first element where several share a path"""
    bare: bool
    """the root has neither elements nor text in it"""


def read_document(
    body: bytes, *, wanted: frozenset[Path], accept: Callable[[str], None], small: int = SMALL
) -> Document:
    """Read `body`, which must be well-formed; `accept` may raise when it is told the root's name.

    A body of up to `small` bytes is read in one piece. Raises Unreadable with the reason and, as
    near as known, the place. The message never quotes the body, apart from what `accept` says and a
    declared encoding.
    """
    _refuse_encoding(body)
    quick = read_small(body, wanted, accept) if len(body) <= small else None
    return _read_strictly(body, ParserTarget(wanted, accept)) if quick is None else quick


class Unreadable(Exception):
    """Why a document is not accepted, as a part of a sentence: what is wrong, and where."""


def unreadable(reason: str, line: int = 0, column: int = 0) -> Unreadable:
    """The error for `reason`, with the place as far as it is known (0: unknown)."""
    places = [f"{name} {at}" for name, at in (("line", line), ("column", column)) if at > 0]
    place = f" ({', '.join(places)})" if places else ""
    return Unreadable(f"{reason}{place}")


def _refuse_encoding(body: bytes) -> None:
    """Take the encodings a ticket can come in; others only serve to hide something.

    Raises Unreadable. What the encoding is, libxml2 decides again by itself.
    """
    declared = _DECLARED.match(body)
    name = declared[1].decode("ascii", "replace") if declared else "utf-8"
    if body.startswith(_UTF_32):
        name = "UTF-32"
    if name.lower() not in _ENCODINGS:
        shown = "".join(letter for letter in name[:30] if letter.isalnum() or letter in "-_.")
        raise unreadable(f"its character encoding {shown!r} is not accepted; UTF-8 is", line=1)


def read_small(
    body: bytes, wanted: frozenset[Path], accept: Callable[[str], None]
) -> Document | None:
    """The document, or None when the strict way has to look at it.

    No document type can be in it, so there is nothing that libxml2 could expand or fetch.
    """
    if b"<!DOCTYPE" in body or b"\0" in body:
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


def _read_strictly(body: bytes, target: ParserTarget) -> Document:
    parser = etree.XMLParser(
        target=cast("Any", target),  # its type asks for methods that lxml does not need
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
    )
    fed = 0
    try:
        for start in range(0, len(body), _STEP):
            fed = min(start + _STEP, len(body))
            parser.feed(body[start:fed])
            target.fed(fed)
        parser.close()
    except etree.XMLSyntaxError as error:
        reason = _REASONS.get(error.code, "it is not well-formed XML")
        raise unreadable(reason, *error.position) from None
    except LimitExceeded as exceeded:
        raise unreadable(str(exceeded), *_place(body, exceeded, fed)) from None
    return target.document()


def _place(body: bytes, exceeded: LimitExceeded, fed: int) -> tuple[int, int]:
    """Line and column (0: unknown) of what was exceeded, at most `fed` bytes into the body."""
    at = body.find(b"<!DOCTYPE", 0, fed)
    if at < 0 or "DOCTYPE" not in str(exceeded):
        return body.count(b"\n", 0, fed) + 1, 0
    return body.count(b"\n", 0, at) + 1, at - body.rfind(b"\n", 0, at)


class LimitExceeded(Exception):
    """The document goes too far; the message says in what, the caller knows where."""


class ParserTarget:
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
        raise LimitExceeded("it declares a document type (DOCTYPE), which is never accepted")

    def close(self) -> None:
        """Nothing to do at the end; lxml wants the method."""

    def fed(self, total: int) -> None:
        """Told after each step; refuses when libxml2 has long been collecting one thing."""
        if self._heard:
            self._heard, self._quiet_since = False, total
        elif total - self._quiet_since > MAX_TAG:
            raise LimitExceeded(
                f"a single tag, comment or CDATA section is longer than {MAX_TAG} bytes"
            )

    def document(self) -> Document:
        """What was kept."""
        texts = {path: text.rstrip() for path, text in self._texts.items()}
        bare = self._elements == 1 and not self._root_text
        return Document(root=self._root, texts=texts, bare=bare)

    def _check_limits(self, names: tuple[str, ...]) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise LimitExceeded(f"its elements are nested deeper than {MAX_DEPTH}")
        if self._elements > MAX_ELEMENTS:
            raise LimitExceeded(f"it has more than {MAX_ELEMENTS} elements")
        if max(map(len, names)) > MAX_NAME:
            raise LimitExceeded(f"a name is longer than {MAX_NAME} characters")
        self._names.update(names)
        if len(self._names) > MAX_NAMES:
            raise LimitExceeded(f"it has more than {MAX_NAMES} different names")
