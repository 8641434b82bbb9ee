"""Validation errors as sentences for the person who wrote the value.

Used for `mediator.yaml`, the environment, and the policies that scripts state. A value is quoted
only where it is a number, a word or a duration; never where it may hold a secret.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from types import NoneType
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from mediator.model.durations import format_duration

KeyPath = tuple[str | int, ...]
_KEY_MARK = "[key]"  # pydantic ends the location with it when the key of a mapping is wrong
_HIDDEN = ("secret", "password", "token", "credential")
_NOT_A_LIST = "is not a list"
_NOT_A_MAPPING = "is not a mapping of keys to values"
_NOT_A_NUMBER = "which is not a whole number"
_WITHOUT_VALUE: Mapping[str, str] = {
    "tuple_type": _NOT_A_LIST,
    "list_type": _NOT_A_LIST,
    "set_type": _NOT_A_LIST,
    "frozen_set_type": _NOT_A_LIST,
    "dict_type": _NOT_A_MAPPING,
    "model_type": _NOT_A_MAPPING,
    "model_attributes_type": _NOT_A_MAPPING,
    "path_type": "is not the name of a file or directory",
}
_WITH_VALUE: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "int_parsing": lambda _: _NOT_A_NUMBER,
    "int_type": lambda _: _NOT_A_NUMBER,
    "int_from_float": lambda _: _NOT_A_NUMBER,
    "int_parsing_size": lambda _: _NOT_A_NUMBER,
    "bool_parsing": lambda _: "which is neither true nor false",
    "bool_type": lambda _: "which is neither true nor false",
    "string_type": lambda _: "which is not text; write it in quotes",
    "greater_than": lambda given: f"and must be above {_plain(given['gt'])}",
    "greater_than_equal": lambda given: f"which is below {_plain(given['ge'])}",
    "less_than": lambda given: f"and must be below {_plain(given['lt'])}",
    "less_than_equal": lambda given: f"which is above {_plain(given['le'])}",
    "enum": lambda given: f"which is none of {_choices(given)}",
    "literal_error": lambda given: f"which is none of {_choices(given)}",
    "string_pattern_mismatch": lambda given: f"which does not have the form {given['pattern']}",
    "string_too_long": lambda given: f"which has more than {given['max_length']} characters",
}


def location(error: ErrorDetails) -> KeyPath:
    """Where the error is, as keys and list positions; for a missing key, where it belongs."""
    path = error["loc"]
    return path[:-1] if path and path[-1] == _KEY_MARK else path


def dotted(path: Sequence[str | int]) -> str:
    """`auth.keys[0].id` for `("auth", "keys", 0, "id")`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def sentence(error: ErrorDetails, model: type[BaseModel]) -> str:
    """What is wrong, as one sentence that begins with the dotted key."""
    path, kind = location(error), error["type"]
    key, given = dotted(path), error.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(path, model)
    if kind == "missing":
        return f"{dotted(path[:-1]) or 'the file'} lacks {path[-1]}."
    if kind == "too_short":
        return f"{key} needs at least {given['min_length']} entry."
    if kind in _WITHOUT_VALUE:
        return f"{key} {_WITHOUT_VALUE[kind]}{_form_hint(error)}."
    if kind in _WITH_VALUE:
        return f"{key} is {_shown(path, error['input'])}, {_WITH_VALUE[kind](given)}."
    return f"{key}: {error['msg'].removeprefix('Value error, ').rstrip('.')}."


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was probably meant to be, or None."""
    names = list(known)
    # `secert` is nearer to the first part of `secret_file` than to the whole of `scripts`.
    spellings = {part: name for name in names for part in name.lower().split("_")}
    spellings |= {name.lower(): name for name in names}
    found = difflib.get_close_matches(word.lower(), spellings, n=1, cutoff=0.6)
    return spellings[found[0]] if found else None


def _unknown(path: KeyPath, model: type[BaseModel]) -> str:
    *above, key = path
    known = _keys_at(model, above)
    hint = nearest(str(key), known)
    if hint is not None:
        advice = f"did you mean {dotted((*above, hint))}?"
    else:
        advice = f"known here are {', '.join(known)}."
    return f"{dotted(path)} is not a key that exists; {advice}"


def _keys_at(model: type[BaseModel], path: Iterable[str | int]) -> list[str]:
    annotation: Any = model
    for part in path:
        annotation = _inside(_unwrapped(annotation), part)
    found = _unwrapped(annotation)
    return list(found.model_fields) if _is_model(found) else []


def _inside(annotation: Any, part: str | int) -> Any:
    if _is_model(annotation):
        field = annotation.model_fields.get(part)
        return field.annotation if field else None
    inner = [arg for arg in get_args(annotation) if arg is not Ellipsis]
    return inner[-1] if inner else None


def _unwrapped(annotation: Any) -> Any:
    """The type behind `X | None` and `Annotated[X, ...]`."""
    if get_origin(annotation) in {tuple, dict, frozenset, list} or _is_model(annotation):
        return annotation
    inner = [arg for arg in get_args(annotation) if arg is not NoneType]
    return _unwrapped(inner[0]) if inner else annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _shown(path: KeyPath, value: object) -> str:
    names = [part.lower() for part in path if isinstance(part, str)]
    if "env" in names or any(word in names[-1] for word in _HIDDEN):
        return "a value that is not shown here"
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, (str, int, float)) or value is None:
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= 80 else f"{text[:80]}..."
    return "a list" if isinstance(value, (list, tuple)) else "a mapping"


def _plain(bound: object) -> str:
    # Pydantic gives a duration's bound as its repr, and no duration has another bound than 0.
    return "0" if str(bound).startswith("datetime.") else str(bound)


def _choices(given: Mapping[str, Any]) -> str:
    return str(given["expected"]).replace("'", "").replace(" or ", ", ")


def _form_hint(error: ErrorDetails) -> str:
    if not isinstance(error["input"], str) or error["type"] == "path_type":
        return ""
    form = "{...}" if _WITHOUT_VALUE[error["type"]] == _NOT_A_MAPPING else "[...]"
    return f" but text; write it as {form}"
