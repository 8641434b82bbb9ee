"""Settings from variables named `MEDIATOR_SECTION__KEY`.

`MEDIATOR_DISPATCH__RETRY__ATTEMPTS=3` is `dispatch.retry.attempts: 3`. Lists and whole sections
are JSON: `MEDIATOR_DISPATCH__PASS_ENV=["TZ"]`. A variable that is empty counts as not set, as
compose files and charts expect. Variables without `__` belong to others and are ignored: the
shim has some, and Kubernetes makes `MEDIATOR_PORT` out of a Service called mediator.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

from mediator.settings.explaining import nearest
from mediator.settings.tree import Settings

PREFIX = "MEDIATOR_"
DELIMITER = "__"
_KEEP_CASE_AFTER = {"policies", "env"}
"""What follows these is a name that somebody else chose: a script's, a variable's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """What the variables say, and which one says it."""

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


def read_environment(environ: Mapping[str, str]) -> Environment:
    """Read the variables that belong to the settings."""
    names = {path: name for name, path in _named(environ) if path[0] in Settings.model_fields}
    problems = (
        f"{name}: {_no_section(path)}"
        for name, path in _named(environ)
        if path[0] not in Settings.model_fields
    )
    # In order of length, so that a variable for one key wins over one for the whole section.
    variables = {DELIMITER.join(path): environ[names[path]] for path in sorted(names)}
    return Environment(data=_Source(variables)(), problems=tuple(problems), names=names)


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
