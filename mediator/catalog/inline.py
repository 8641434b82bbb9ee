"""The `# /// script` block of a file, in any language whose comments begin with `#`.

PEP 723: https://packaging.python.org/en/latest/specifications/inline-script-metadata/
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mediator.catalog.unfit import Unfit

# The expression of the specification, unchanged.
_BLOCK = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
_OPENING = re.compile(r"(?m)^# /// script$")
_UNREADABLE = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """TOML text, and the line of the file that its first line is."""

    text: str
    first_line: int


def find_block(data: bytes) -> Block | None:
    """The block, or None. Raises `Unfit` for two, for one without end, for one not UTF-8."""
    if b"# /// script" not in data:
        return None
    # A comment in another encoding elsewhere in the file is none of our business.
    text = data.decode(errors="replace").replace("\r\n", "\n")
    blocks = [match for match in _BLOCK.finditer(text) if match["type"] == "script"]
    if len(blocks) > 1:
        lines = " and ".join(str(_line(text, match.start())) for match in blocks)
        raise Unfit(f"it has more than one block `# /// script`, in lines {lines}; keep one.")
    if not blocks:
        _refuse_open_end(text)
        return None
    content = blocks[0]["content"]
    if _UNREADABLE in content:
        raise Unfit("its block `# /// script` is not UTF-8 text; save the file as UTF-8.")
    lines_of_toml = (line.removeprefix("#").removeprefix(" ") for line in content.splitlines())
    first_line = _line(text, blocks[0].start("content"))
    return Block(text="\n".join(lines_of_toml), first_line=first_line)


def _refuse_open_end(text: str) -> None:
    opening = _OPENING.search(text)
    if opening is not None:
        line = _line(text, opening.start())
        raise Unfit(
            f"it has a block `# /// script` in line {line} that does not end; "
            "every line of it begins with `# `, and the last is `# ///`."
        )


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
