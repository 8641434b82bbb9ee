"""What a script says of itself, in its `# /// script` block or in `NAME.toml` beside it: metadata.

The block holds PEP 723's own keys, and the policy under `[tool.mediator]`. The file beside it,
for languages without such comments, holds the policy keys at its top. Both at once are refused,
so that nobody changes the one that does not count. What a Python script requires, packages and a
Python that is new enough, is brought into one spelling, so that scripts can share an environment.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from pydantic import ValidationError

from mediator.catalog.files import InvalidScript
from mediator.model.policy import StatedPolicy
from mediator.settings.explain import location, sentence

_TOML_LINE = re.compile(r" \(at line (\d+), column \d+\)$")
# The expression of the specification, unchanged.
_BLOCK = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
_OPENING = re.compile(r"(?m)^# /// script$")
_UNREADABLE = "\N{REPLACEMENT CHARACTER}"
_WORDS: Mapping[type, str] = {dict: "a table", list: "a list", str: "text"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Metadata:
    """What a script says of itself; empty where it says nothing."""

    policy: StatedPolicy = field(default_factory=StatedPolicy)
    states_policy: bool = False
    description: str = ""
    dependencies: tuple[str, ...] = ()
    requires_python: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """TOML text, and the line of the file that its first line is."""

    text: str
    first_line: int


def find_block(data: bytes) -> Block | None:
    """The block, or None.

    Raises `InvalidScript` for two, for one without end, and for one that is not UTF-8.
    """
    if b"# /// script" not in data:
        return None
    # A comment in another encoding elsewhere in the file is none of our business.
    text = data.decode(errors="replace").replace("\r\n", "\n")
    blocks = [match for match in _BLOCK.finditer(text) if match["type"] == "script"]
    if len(blocks) > 1:
        lines = " and ".join(str(_line(text, match.start())) for match in blocks)
        raise InvalidScript(
            f"it has more than one block `# /// script`, in lines {lines}; keep one."
        )
    if not blocks:
        _refuse_open_end(text)
        return None
    content = blocks[0]["content"]
    if _UNREADABLE in content:
        raise InvalidScript("its block `# /// script` is not UTF-8 text; save the file as UTF-8.")
    lines_of_toml = (line.removeprefix("#").removeprefix(" ") for line in content.splitlines())
    first_line = _line(text, blocks[0].start("content"))
    return Block(text="\n".join(lines_of_toml), first_line=first_line)


def _refuse_open_end(text: str) -> None:
    opening = _OPENING.search(text)
    if opening is not None:
        line = _line(text, opening.start())
        raise InvalidScript(
            f"it has a block `# /// script` in line {line} that does not end; "
            "every line of it begins with `# `, and the last is `# ///`."
        )


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def read_block(block: Block, file: str) -> Metadata:
    """Read the block of a script. Raises `InvalidScript` with one sentence per problem."""
    table = _parse(block, file)
    if "mediator" in table:
        raise InvalidScript(f"{file}: in the block write [tool.mediator], not [mediator].")
    tools = _typed(table, "tool", dict, file) or {}
    policy = _typed(tools, "mediator", dict, file)
    dependencies: list[Any] = _typed(table, "dependencies", list, file) or []
    if not all(isinstance(requirement, str) for requirement in dependencies):
        raise InvalidScript(f"{file}: dependencies is not a list of text.")
    return Metadata(
        **_policy_parts(policy or {}, block, file),
        states_policy=policy is not None,
        dependencies=tuple(dependencies),
        requires_python=_typed(table, "requires-python", str, file) or "",
    )


def read_sidecar(data: bytes, file: str) -> Metadata:
    """Read the file beside a script. Raises `InvalidScript` with one sentence per problem."""
    try:
        block = Block(text=data.decode(), first_line=1)
    except UnicodeDecodeError as error:
        raise InvalidScript(f"{file} is not UTF-8 text; save it as UTF-8.") from error
    return Metadata(**_policy_parts(_parse(block, file), block, file), states_policy=True)


def _parse(block: Block, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(block.text)
    except tomllib.TOMLDecodeError as error:
        found = _TOML_LINE.search(str(error))
        last = block.text.count("\n") + 1
        line = block.first_line - 1 + (int(found[1]) if found else last)
        what = _TOML_LINE.sub("", str(error)).removesuffix(" (at end of document)")
        raise InvalidScript(f"{file}:{line}: this is not TOML: {what}.") from error


def _typed(table: Mapping[str, Any], key: str, wanted: type, file: str) -> Any:
    value = table.get(key)
    if value is not None and not isinstance(value, wanted):
        raise InvalidScript(f"{file}: {key} is not {_WORDS[wanted]}.")
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
        raise InvalidScript(" ".join(sentences)) from error
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Requirements:
    """What scripts have in common that can share an environment."""

    packages: tuple[str, ...] = ()
    """PEP 508 requirements, normalised and sorted; none: an interpreter is all it takes"""
    requires_python: str = ""
    """a PEP 440 specifier; empty: any"""
    interpreter: str = ""
    """what the first line names, found on the PATH of scripts; empty: nothing that is there"""
    version: str = ""
    """the minor version that the first line names, such as 3.12; empty: none"""
    flags: tuple[str, ...] = ()
    """options of the interpreter in the first line"""

    @property
    def key_parts(self) -> tuple[tuple[str, ...], str]:
        """What decides which packages are installed, besides the interpreter and the settings."""
        return self.packages, self.requires_python

    def accepts(self, version: str) -> bool:
        """Whether a Python of this version is new enough."""
        return SpecifierSet(self.requires_python).contains(version, prereleases=True)

    @property
    def shared(self) -> Requirements:
        """The same without what only matters when the script is started."""
        return replace(self, flags=())


def normalised(dependencies: Sequence[str], file: str) -> tuple[str, ...]:
    """PEP 508 requirements in one spelling and order. Raises `InvalidScript` for what is none."""
    return tuple(sorted({_normalised(stated, file) for stated in dependencies}))


def _normalised(stated: str, file: str) -> str:
    try:
        requirement = Requirement(stated)
    except InvalidRequirement as error:
        why = str(error).partition("\n")[0].rstrip(".")
        raise InvalidScript(
            f"{file}: {stated!r} in dependencies is no requirement: {why}."
        ) from error
    requirement.name = canonicalize_name(requirement.name)
    return str(requirement)


def refuse_odd_specifier(requires_python: str, file: str) -> None:
    """Raise `InvalidScript` for what is no PEP 440 specifier."""
    try:
        SpecifierSet(requires_python)
    except InvalidSpecifier as error:
        raise InvalidScript(
            f"{file}: requires-python is {requires_python!r}, which is none such as '>=3.11'."
        ) from error
