"""A YAML file read so that every value still knows its line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mediator.errors import SettingsError

_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """Safe loading, where a date is plain text: no setting is a date."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # the name and kind are PyYAML's
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class YamlFile:
    """What a file says, and where it says so."""

    path: Path
    data: Mapping[str, Any]
    problems: tuple[str, ...]
    """one sentence for each key that is given twice or is not text"""
    root: yaml.Node | None

    def place(self, path: Sequence[str | int]) -> str:
        """`FILE:LINE` of the key at `path`, or of the nearest one above that the file has."""
        node, line = self.root, 1
        for part in path:
            step = _step(node, part)
            if step is None:
                break
            line, node = step
        return f"{self.path}:{line}"


def read_yaml(path: Path) -> YamlFile:
    """Read the file. Raises `SettingsError` when it cannot be read or is not a YAML mapping."""
    root, data = _parse(_read_text(path), path)
    if not isinstance(data, dict):
        message = f"{path}: the file is not a mapping of keys to values, such as http: {{port: 1}}."
        raise SettingsError(message)
    problems = tuple(f"{path}:{line}: {what}" for line, what in _key_problems(root, set()))
    # A section whose every line is commented out is null in YAML and means: all defaults.
    stated = {key: value for key, value in data.items() if value is not None}
    return YamlFile(path=path, data=stated, problems=problems, root=root)


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        message = f"{path}:{line}: the file is not UTF-8 text; save it as UTF-8."
        raise SettingsError(message) from error
    except FileNotFoundError as error:
        message = f"{path}: there is no such settings file; name another one with --config."
        raise SettingsError(message) from error
    except OSError as error:
        reason = error.strerror or "unknown error"
        message = f"{path}: the settings file cannot be read ({reason})."
        raise SettingsError(message) from error


def _parse(text: str, path: Path) -> tuple[yaml.Node | None, Any]:
    try:
        return _loaded(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        why = error.problem or error.context or "unknown error"
        message = f"{path}:{line}: the file is not YAML that can be read: {why}."
        raise SettingsError(message) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"{path}:{line}: the file holds a control character; remove it."
        raise SettingsError(message) from error
    except (RecursionError, ValueError) as error:
        message = f"{path}: the file is not YAML that can be read: {error}."
        raise SettingsError(message) from error


def _loaded(text: str) -> tuple[yaml.Node | None, Any]:
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        data = None if root is None else loader.construct_document(root)
    finally:
        loader.dispose()
    return root, {} if data is None else data


def _step(node: yaml.Node | None, part: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        # The last one counts: constructing puts the pairs of `<<` in front of a mapping's own.
        for key, value in reversed(node.value):
            if key.value == str(part):
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        value = node.value[part]
        return value.start_mark.line + 1, value
    return None


def _key_problems(node: yaml.Node | None, seen: set[int]) -> Iterator[tuple[int, str]]:
    if node is None or id(node) in seen or isinstance(node, yaml.ScalarNode):
        return
    seen.add(id(node))  # an alias may lead back to its own anchor
    if isinstance(node, yaml.MappingNode):
        yield from _own_key_problems(node)
    for child in node.value:
        for part in child if isinstance(child, tuple) else (child,):
            yield from _key_problems(part, seen)


def _own_key_problems(node: yaml.MappingNode) -> Iterator[tuple[int, str]]:
    first: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if key.tag not in {_TEXT, _MERGE}:
            shown = key.value if isinstance(key, yaml.ScalarNode) else "a key here"
            yield line, f"{shown} is not a text key; write it in quotes."
        elif key.value in first:
            yield line, f"{key.value} is given twice, first in line {first[key.value]}; keep one."
        else:
            first[key.value] = line
