"""Reading the settings: defaults, then the file, then the environment, then the flags.

Whatever is wrong is said at once: one `SettingsError` whose message holds a line per problem.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

from mediator.errors import SettingsError
from mediator.model.policy import overlay
from mediator.settings.explain import location, nearest, sentence
from mediator.settings.schema import Settings
from mediator.settings.secrets import found_credentials

NOTHING: Mapping[str, Any] = MappingProxyType({})
PREFIX = "MEDIATOR_"
DELIMITER = "__"
_KEEP_CASE_AFTER = {"policies", "env"}
"""What follows these is a name that somebody else chose: a script's, a variable's."""
_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


def load(
    path: Path | None,
    environ: Mapping[str, str] = NOTHING,
    overrides: Mapping[str, Any] = NOTHING,
) -> Settings:
    """Read the settings; each source wins over the one before it, key by key.

    `path` is the settings file, or None for none. `environ` is the process's environment.
    `overrides` come from flags and are nested as in the file: `{"http": {"port": 0}}`. In what is
    returned every path is absolute: relative ones are taken from the file's directory, without a
    file from the current one. Raises `SettingsError` with one line per problem.
    """
    file: tuple[_Layer, ...] = () if path is None else (read_yaml(path),)
    layers: list[_Layer] = [*file, read_environment(environ), _Flags(data=overrides)]
    problems = [problem for layer in layers for problem in layer.problems]
    settings = _validated(layers, problems)
    if settings is None or problems:
        raise SettingsError("\n".join(problems))
    settings = found_credentials(settings, environ)
    return settings.anchored(Path() if path is None else path.parent)


def _validated(layers: Sequence[_Layer], problems: list[str]) -> Settings | None:
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = overlay(merged, layer.data)
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        problems.extend(_explained(error, layers))
        return None


def _explained(error: ValidationError, layers: Sequence[_Layer]) -> Iterator[str]:
    errors = error.errors()
    for details in errors:
        path = location(details)
        # A list whose entries are all wrong counts as empty too; the entries are what is wrong.
        inside = (other["loc"][: len(path)] == path for other in errors if other is not details)
        if not (details["type"] == "too_short" and any(inside)):
            yield f"{_stated_by(path, layers).place(path)}: {sentence(details, Settings)}"


def _stated_by(path: Sequence[str | int], layers: Sequence[_Layer]) -> _Layer:
    """The layer that states the value, or most of the way to it."""
    return max(reversed(layers), key=lambda layer: _depth(layer.data, path))


def _depth(data: Any, path: Sequence[str | int]) -> int:
    for depth, part in enumerate(path):
        if not isinstance(data, Mapping):
            break  # a list or a value is replaced as a whole: nothing below it shows through
        if part not in data:
            return depth
        data = data[part]
    return len(path)


class _Layer(Protocol):
    """One place that states settings."""

    @property
    def data(self) -> Mapping[str, Any]: ...

    @property
    def problems(self) -> tuple[str, ...]: ...

    def place(self, path: Sequence[str | int]) -> str: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class _Flags:
    data: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def place(self, path: Sequence[str | int]) -> str:
        del path
        return "command line"


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentLayer:
    """What the variables `MEDIATOR_SECTION__KEY` say, and which one says it."""

    data: Mapping[str, Any]
    problems: tuple[str, ...]
    """one sentence for each variable whose section does not exist"""
    names: Mapping[tuple[str, ...], str]
    """variable by path"""

    def place(self, path: Sequence[str | int]) -> str:
        """The variable that states the key at `path`, or the whole it is part of."""
        parts = tuple(str(part) for part in path)
        above = (parts[:length] for length in range(len(parts), 0, -1))
        below = (known for known in self.names if known[: len(parts)] == parts)
        found = next((self.names[known] for known in above if known in self.names), None)
        return found or next((self.names[known] for known in below), "the environment")


def read_environment(environ: Mapping[str, str]) -> EnvironmentLayer:
    """Read the variables that belong to the settings."""
    names = {path: name for name, path in _named(environ) if path[0] in Settings.model_fields}
    problems = (
        f"{name}: {_no_section(path)}"
        for name, path in _named(environ)
        if path[0] not in Settings.model_fields
    )
    # In order of length, so that a variable for one key wins over one for the whole section.
    variables = {DELIMITER.join(path): environ[names[path]] for path in sorted(names)}
    return EnvironmentLayer(data=_Source(variables)(), problems=tuple(problems), names=names)


class _Source(EnvSettingsSource):
    """Reads the variables it is given, and leaves what is not JSON to the validation."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        super().__init__(Settings, case_sensitive=True, env_nested_delimiter=DELIMITER)
        self.env_vars = variables

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """The JSON value, or the text itself, which the tree then refuses by name."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


def _named(environ: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for name, value in environ.items():
        if name.startswith(PREFIX) and DELIMITER in name.removeprefix(PREFIX) and value:
            yield name, _path(name)


def _path(name: str) -> tuple[str, ...]:
    path: list[str] = []
    for part in name.removeprefix(PREFIX).split(DELIMITER):
        keep = path and path[-1] in _KEEP_CASE_AFTER
        path.append(part if keep else part.lower())
    return tuple(path)


def _no_section(path: tuple[str, ...]) -> str:
    hint = nearest(path[0], Settings.model_fields)
    if hint is None:
        return f"there is no section {path[0]}; known are {', '.join(Settings.model_fields)}."
    rest = DELIMITER.join((hint, *path[1:])).upper()
    return f"there is no section {path[0]}; did you mean {PREFIX}{rest}?"


class _Loader(yaml.SafeLoader):
    """Safe loading, where a date is plain text: no setting is a date."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # the name and kind are PyYAML's
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class YamlFile:
    """What a file says, and where it says so: every value still knows its line."""

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
