"""Text from strangers, so that a person sees what is there.

What scripts print and what tickets say is hostile: a control character could rewrite the screen, a
direction mark could make one word look like another. So every character that is not printable is
shown as an escape.
"""

from __future__ import annotations

import re
import unicodedata

_NOT_ASCII = re.compile(r"[^ -~]")


def visible(text: str, *, keep: str = "") -> str:
    r"""`text` with `\x1b` for an escape character and so on; characters in `keep` stay."""

    def shown(found: re.Match[str]) -> str:
        character = found[0]
        if harmless(character) or character in keep:
            return character
        return ascii(character)[1:-1]

    return _NOT_ASCII.sub(shown, text)


def harmless(character: str) -> bool:
    """Whether it is a sign or a blank, and does nothing to its neighbours."""
    return character.isprintable() or unicodedata.category(character) == "Zs"
