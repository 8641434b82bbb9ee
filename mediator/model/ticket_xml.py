"""Look into a document that a stranger wrote, and keep a few texts of it, in bounded memory.

What an attacker could use is refused, not repaired: any document type declaration (so no entity of
its own, no external file, no billion laughs), encodings nobody needs, and excesses of depth, size
of one tag, elements and names. XInclude is never processed.

A small document, as tickets are, is read in one piece (`ticket_tree`). Every other one, and every
small one with anything wrong in it, is read strictly: no tree is built, libxml2 tells a target
about each tag, and the target stops it where it goes too far and knows the place.

libxml2 keeps every element and attribute name it ever saw, for all documents of a thread, and
after about 100 MB of names takes no new one. So the names of one document are bounded too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from lxml import etree

from mediator.model.ticket_target import Document, Path, Refused, Target
from mediator.model.ticket_tree import read_small

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


def read_document(
    body: bytes, *, wanted: frozenset[Path], accept: Callable[[str], None]
) -> Document:
    """Read `body`, which must be well-formed; `accept` may raise when it is told the root's name.

    Raises Unreadable with the reason and, as near as known, the place. The message never quotes
    the body, apart from what `accept` says and a declared encoding.
    """
    _refuse_encoding(body)
    quick = read_small(body, wanted, accept)
    return _read_strictly(body, Target(wanted, accept)) if quick is None else quick


def _read_strictly(body: bytes, target: Target) -> Document:
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
    except Refused as refused:
        raise unreadable(str(refused), *_place(body, refused, fed)) from None
    return target.document()


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


def _place(body: bytes, refused: Refused, fed: int) -> tuple[int, int]:
    """Line and column (0: unknown) of what `refused` refused, at most `fed` bytes into the body."""
    at = body.find(b"<!DOCTYPE", 0, fed)
    if at < 0 or "DOCTYPE" not in str(refused):
        return body.count(b"\n", 0, fed) + 1, 0
    return body.count(b"\n", 0, at) + 1, at - body.rfind(b"\n", 0, at)
