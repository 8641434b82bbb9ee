"""Writes the tables of settings, policy keys and metrics into the documents, from the code.

`python docs/generate.py` rewrites what stands between `<!-- NAME: begin -->` and
`<!-- NAME: end -->`; a test says when that is due.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mediator.metrics import Metrics
from mediator.metrics.keeper import KeeperMetrics
from mediator.metrics.labels import Snapshot
from mediator.model.durations import format_duration
from mediator.model.policy import ANSWERS, ROOTS, Kind, Policy, StatedPolicy, resolve
from mediator.settings.schema import Settings

REPOSITORY = Path(__file__).parents[1]
_UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def main() -> None:
    """Rewrite every document."""
    for path, text in documents().items():
        path.write_text(text, encoding="utf-8")


def documents() -> dict[Path, str]:
    """Each document that has generated parts, as it should be."""
    parts = {
        "settings": table(("key", "default", "meaning"), settings_rows(Settings)),
        "policies": table(("key", "default", "meaning"), policy_rows()),
        "kinds": table(("kind", "accepted root elements", "answer it must print"), kind_rows()),
        "metrics": table(("metric", "type", "labels", "meaning"), metric_rows()),
    }
    pages = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
    marked = {page: page.read_text(encoding="utf-8") for page in pages}
    return {page: filled(text, parts) for page, text in marked.items() if ": begin -->" in text}


def filled(text: str, parts: Mapping[str, str]) -> str:
    """The text with every marked part replaced."""
    for name, part in parts.items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        if begin in text:
            before, _, rest = text.partition(begin)
            text = f"{before}{begin}\n{part}\n{end}{rest.partition(end)[2]}"
    return text


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in lines
    )


def settings_rows(model: type[BaseModel], above: str = "") -> Iterator[tuple[str, ...]]:
    """A row for each key of the settings file; `[]` stands for each entry of a list."""
    for name, field in model.model_fields.items():
        key = f"{above}{name}"
        inner, many = _inner(field)
        if inner is None or inner is StatedPolicy:
            yield f"`{key}`", shown(field), described(field)
        else:
            if many:
                yield f"`{key}`", shown(field), described(field)
            yield from settings_rows(inner, f"{key}[]." if many else f"{key}.")


def policy_rows() -> Iterator[tuple[str, ...]]:
    """A row for each policy key, with what holds for a trigger script that states nothing."""
    usual = resolve(Settings().policy_defaults)
    for name, field in StatedPolicy.model_fields.items():
        inner = getattr(usual, name)
        if isinstance(inner, BaseModel):
            for below, part in type(inner).model_fields.items():
                yield f"`{name}.{below}`", _words(getattr(inner, below)), described(part)
        else:
            yield f"`{name}`", _policy_default(name, usual), described(field)


def kind_rows() -> Iterator[tuple[str, ...]]:
    """A row for each kind of script."""
    for kind in Kind:
        yield f"`{kind}`", _words(ROOTS[kind]), _words(ANSWERS[kind])


def metric_rows() -> Iterator[tuple[str, ...]]:
    """A row for each metric of the daemon and of the keeper, by the name that Prometheus knows."""
    shown = dict([*_shown(Metrics().registry), *_shown(KeeperMetrics().registry)])
    yield from (shown[name] for name in sorted(shown))


def _shown(registry: CollectorRegistry) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each family's name, without what its type adds to it, and its row."""
    labels: dict[str, tuple[str, ...]] = {}
    for collector in list(registry._collector_to_names):  # noqa: SLF001 - told nowhere else
        if isinstance(collector, MetricWrapperBase):
            labels[collector._name] = collector._labelnames  # noqa: SLF001 - the same
        elif isinstance(collector, Snapshot):
            labels[collector.name] = collector.labels
    for family in sorted(registry.collect(), key=lambda family: family.name):
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        found = {label for sample in family.samples for label in sample.labels}
        named = " ".join(f"`{label}`" for label in labels.get(family.name, sorted(found)))
        words = family.documentation.rstrip(".")
        yield family.name, (f"`{family.name}{suffix}`", family.type, named or "-", f"{words}.")


def _inner(field: FieldInfo) -> tuple[type[BaseModel] | None, bool]:
    """The model in a field, and whether there can be many of it."""
    found = [part for part in (field.annotation, *get_args(field.annotation)) if _is_model(part)]
    return (found[0], found[0] is not field.annotation) if found else (None, False)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def described(field: FieldInfo) -> str:
    """What its docstring says."""
    assert field.description, f"a key has no docstring: {field}"  # noqa: S101
    return " ".join(field.description.split())


def shown(field: FieldInfo) -> str:
    """The default as somebody would write it."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return _words(
        value, size="Size" in repr(field.metadata) or "parse_size" in repr(field.metadata)
    )


def _policy_default(name: str, usual: Policy) -> str:
    if name == "timeout":
        interactive = resolve(Settings().policy_defaults, StatedPolicy(kind=Kind.CONDITION)).timeout
        return f"{_words(usual.timeout)}; interactive kinds {_words(interactive)}"
    if name in ("roots", "answer"):
        return "by kind, see below"
    return _words(getattr(usual, name))


def _words(value: Any, *, size: bool = False) -> str:
    if value is None:
        return "-"
    if isinstance(value, BaseModel):
        return "see below"
    if isinstance(value, tuple | frozenset | dict):
        return _listed(value)
    return f"`{_plain(value, size=size)}`"


def _plain(value: Any, *, size: bool) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, timedelta):
        return format_duration(value)
    return _size(value) if size or (isinstance(value, int) and value >= 2**16) else str(value)


def _listed(values: Iterable[Any]) -> str:
    found = list(values)
    if found and isinstance(found[0], BaseModel):
        return "one, see below"
    ordered = sorted(found) if isinstance(values, frozenset) else found
    return " ".join(_words(value) for value in ordered) or "none"


def _size(value: int) -> str:
    for unit, factor in _UNITS:
        if value % factor == 0:
            return f"{value // factor}{unit}"
    return str(value)


if __name__ == "__main__":
    main()
