"""Environments at one's own time: at the build of an image, in an init container, for a check."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import MappingProxyType

from mediator.catalog.environments.building import Builder, Place
from mediator.catalog.environments.uv import BuildFailed
from mediator.catalog.needs import Need
from mediator.catalog.scripts import Catalog, EnvironmentState, Script

NOT_BUILT = "its environment is not built yet; `mediator prepare` builds it, and so does serve."
"""What is wrong with a script whose environment is only not there yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """What came of one need."""

    scripts: tuple[str, ...]
    requirements: tuple[str, ...]
    key: str = ""
    """name of the environment's directory; empty: there is none"""
    built: bool = False
    """or it was there before"""
    problem: str = ""
    """why it is not there, one sentence; empty: it is"""
    seconds: float = 0.0


async def prepare(scripts: Iterable[Script], builder: Builder) -> list[Prepared]:
    """Build what the scripts need, one environment after another. Never raises for a failure."""
    groups: dict[Need, list[str]] = {}
    for script in scripts:
        if script.need is not None:
            groups.setdefault(script.need.shared, []).append(script.name)
    return [await _prepared(need, tuple(names), builder) for need, names in groups.items()]


async def _prepared(need: Need, scripts: tuple[str, ...], builder: Builder) -> Prepared:
    began = time.monotonic()
    built = Prepared(scripts=scripts, requirements=need.requirements)
    try:
        place = await builder.find(need)
        built = replace(built, key=place.key)
        is_new = bool(place.key) and await builder.build(need, place)
    except BuildFailed as error:
        return replace(built, problem=f"{error}.")
    return replace(built, built=is_new, seconds=time.monotonic() - began)


async def equipped(script: Script, builder: Builder) -> Script:
    """The script with its environment, which is built if need be; or why it cannot be."""
    if script.need is None or script.problem:
        return script
    (made,) = await prepare([script], builder)
    if made.problem:
        return replace(script, problem=f"its environment could not be built: {made.problem}")
    return await _seen(script, builder)


async def with_environments(catalog: Catalog, builder: Builder) -> Catalog:
    """The catalog with the environments that are there; nothing is built or written."""
    scripts = {name: await _seen(script, builder) for name, script in catalog.scripts.items()}
    return replace(catalog, scripts=MappingProxyType(scripts))


async def _seen(script: Script, builder: Builder) -> Script:
    if script.need is None or script.problem:
        return script
    try:
        place = await builder.find(script.need)
    except BuildFailed as error:
        return replace(script, problem=f"it cannot be started: {error}.")
    if not builder.has(place):
        return replace(script, problem=NOT_BUILT)
    return met(script, builder, place)


def met(script: Script, builder: Builder, place: Place) -> Script:
    """A script whose need is met."""
    assert script.need is not None  # noqa: S101 - the caller has looked
    state = EnvironmentState.READY if place.key else EnvironmentState.NONE
    interpreter = builder.interpreter(script.need, place)
    return replace(script, interpreter=interpreter, environment=state)
