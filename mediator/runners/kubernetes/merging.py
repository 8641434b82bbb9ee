"""Merges what Kubernetes objects are made of, such as a pod template of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Manifest = dict[str, Any]
"""An object, or a part of one, as Kubernetes writes it."""
_NAMES = ("name", "mountPath")
"""What tells one entry of a list from another."""


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Manifest:
    """Both, key by key and nested; `above` wins, and a null in it removes what is below.

    Lists of objects are joined; entries of the same name (a container, a volume), or mounted at the
    same place, are merged. A list of words, such as a command, is replaced.
    """
    result = dict(below)
    for key, value in above.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _value(result.get(key), value)
    return result


def _value(below: Any, above: Any) -> Any:
    if isinstance(above, Mapping):
        return merged(below if isinstance(below, Mapping) else {}, above)
    if isinstance(above, list) and above and all(isinstance(entry, Mapping) for entry in above):
        return _joined(below if isinstance(below, list) else [], above)
    return above


def _joined(below: list[Any], above: list[Any]) -> list[Any]:
    result = list(below)
    for entry in above:
        same = [i for i, other in enumerate(result) if _name(other) == _name(entry) is not None]
        if same:
            result[same[0]] = merged(result[same[0]], entry)
        else:
            result.append(entry)
    return result


def _name(entry: Any) -> tuple[str, Any] | None:
    if not isinstance(entry, Mapping):
        return None
    found = [(key, entry[key]) for key in reversed(_NAMES) if key in entry]
    return found[0] if found else None
