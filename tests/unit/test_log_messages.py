"""docs/reference/logs.md lists every message that is logged, and no other."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
LEVELS = {"debug", "info", "warning", "error"}
METHODS = {**{level: level for level in LEVELS}, "exception": "error"}
PAGE = (REPOSITORY / "docs" / "reference" / "logs.md").read_text().partition("\n## Traces\n")[0]


@dataclass
class Message:
    levels: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)


def calls() -> Iterator[tuple[Path, ast.Call, str]]:
    """Every call of a level's method, on whatever object."""
    for path in sorted((REPOSITORY / "mediator").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=method)):
                    if method in METHODS:
                        yield path, node, owner


def logged() -> dict[str, Message]:
    found: defaultdict[str, Message] = defaultdict(Message)
    for _, call, owner in calls():
        if owner == "_log":
            (message,) = call.args
            assert isinstance(message, ast.Constant), ast.unparse(call)
            assert isinstance(message.value, str)
            found[message.value].levels.add(METHODS[ast.unparse(call.func).rpartition(".")[2]])
            found[message.value].fields |= {word.arg for word in call.keywords if word.arg}
    return dict(found)


def documented() -> dict[str, Message]:
    rows = re.findall(r"^\| `([^`]+)` \| ([a-z, ]+) \|([^|]*)\|", PAGE, re.MULTILINE)
    names = [message for message, _, _ in rows]
    assert len(names) == len(set(names))
    return {
        message: Message(set(levels.split(", ")), set(re.findall(r"`([a-z_]+)`", fields)))
        for message, levels, fields in rows
    }


def test_every_message_is_constant_and_logged_in_one_way() -> None:
    others = {(str(path), owner) for path, _, owner in calls() if re.search(r"log$|log_", owner)}
    others = {other for other in others if other[1] != "_log"}
    assert others == set()
    assert logged()


def test_the_page_lists_every_message_with_its_levels() -> None:
    code, page = logged(), documented()
    assert {name: m.levels for name, m in page.items()} == {n: m.levels for n, m in code.items()}


def test_the_page_names_every_field_that_a_message_states() -> None:
    page = documented()
    missing = {
        name: left
        for name, message in logged().items()
        if (left := message.fields - page[name].fields - {"exc_info"})
    }
    assert missing == {}
