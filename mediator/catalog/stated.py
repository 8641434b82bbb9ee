"""What a script says of itself, in its `# /// script` block or in `NAME.toml` beside it.

The block holds PEP 723's own keys, and the policy under `[tool.mediator]`. The file beside it,
for languages without such comments, holds the policy keys at its top. Both at once are refused,
so that nobody changes the one that does not count.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from mediator.catalog.inline import Block
from mediator.catalog.unfit import Unfit
from mediator.model.policies import StatedPolicy
from mediator.settings.explaining import location, sentence

_TOML_LINE = re.compile(r" \(at line (\d+), column \d+\)$")
_WORDS: Mapping[type, str] = {dict: "a table", list: "a list", str: "text"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Stated:
    """What a script says of itself; empty where it says nothing."""

    policy: StatedPolicy = field(default_factory=StatedPolicy)
    states_policy: bool = False
    description: str = ""
    dependencies: tuple[str, ...] = ()
    requires_python: str = ""


def read_block(block: Block, file: str) -> Stated:
    """Read the block of a script. Raises `Unfit` with one sentence per problem."""
    table = _parse(block, file)
    if "mediator" in table:
        raise Unfit(f"{file}: in the block write [tool.mediator], not [mediator].")
    tools = _typed(table, "tool", dict, file) or {}
    policy = _typed(tools, "mediator", dict, file)
    dependencies: list[Any] = _typed(table, "dependencies", list, file) or []
    if not all(isinstance(requirement, str) for requirement in dependencies):
        raise Unfit(f"{file}: dependencies is not a list of text.")
    return Stated(
        **_policy_parts(policy or {}, block, file),
        states_policy=policy is not None,
        dependencies=tuple(dependencies),
        requires_python=_typed(table, "requires-python", str, file) or "",
    )


def read_sidecar(data: bytes, file: str) -> Stated:
    """Read the file beside a script. Raises `Unfit` with one sentence per problem."""
    try:
        block = Block(text=data.decode(), first_line=1)
    except UnicodeDecodeError as error:
        raise Unfit(f"{file} is not UTF-8 text; save it as UTF-8.") from error
    return Stated(**_policy_parts(_parse(block, file), block, file), states_policy=True)


def _parse(block: Block, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(block.text)
    except tomllib.TOMLDecodeError as error:
        found = _TOML_LINE.search(str(error))
        last = block.text.count("\n") + 1
        line = block.first_line - 1 + (int(found[1]) if found else last)
        what = _TOML_LINE.sub("", str(error)).removesuffix(" (at end of document)")
        raise Unfit(f"{file}:{line}: this is not TOML: {what}.") from error


def _typed(table: Mapping[str, Any], key: str, wanted: type, file: str) -> Any:
    value = table.get(key)
    if value is not None and not isinstance(value, wanted):
        raise Unfit(f"{file}: {key} is not {_WORDS[wanted]}.")
    return value


def _policy_parts(table: Mapping[str, Any], block: Block, file: str) -> dict[str, Any]:
    stated = dict(table)
    description = _typed(stated, "description", str, file) or ""
    stated.pop("description", None)
    try:
        policy = StatedPolicy.model_validate(stated)
    except ValidationError as error:
        sentences = (
            f"{file}:{_line_of(location(details), block)}: {sentence(details, StatedPolicy)}"
            for details in error.errors()
        )
        raise Unfit(" ".join(sentences)) from error
    return {"policy": policy, "description": description}


def _line_of(path: Sequence[str | int], block: Block) -> int:
    """The line that seems to set the key: TOML readers do not keep lines."""
    lines = block.text.splitlines()
    for key in (str(part) for part in reversed(path) if isinstance(part, str)):
        sets_key = re.compile(rf"(?:^|[\s\[{{,.]){re.escape(key)}\"?\s*[=\].]")
        for number, line in enumerate(lines):
            if sets_key.search(line):
                return block.first_line + number
    return block.first_line
