"""Reading the settings: defaults, then the file, then the environment, then the flags.

Whatever is wrong is said at once: one `SettingsError` whose message holds a line per problem.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from pydantic import ValidationError

from mediator.errors import SettingsError
from mediator.model.policies import overlay
from mediator.settings.credentials import found_credentials
from mediator.settings.environment import read_environment
from mediator.settings.explaining import location, sentence
from mediator.settings.tree import Settings
from mediator.settings.yaml_file import read_yaml

NOTHING: Mapping[str, Any] = MappingProxyType({})


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
