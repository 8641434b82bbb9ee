"""What has become of the scripts from one catalog to the next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

from mediator.catalog.scripts import Script


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """Names of scripts; one may be changed and broken, or changed and mended, at once."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    broke: tuple[str, ...] = ()
    """cannot run any more, or cannot run for another reason than before"""
    mended: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return any(getattr(self, field.name) for field in fields(self))


def compared(before: Mapping[str, Script], after: Mapping[str, Script]) -> Changes:
    """What has happened between two catalogs."""
    both = [(before[name], after[name]) for name in after if name in before]
    new = [script for name, script in after.items() if name not in before]
    return Changes(
        added=tuple(script.name for script in new),
        changed=tuple(now.name for was, now in both if _differs(was, now)),
        removed=tuple(name for name in before if name not in after),
        broke=tuple(_broke(both, new)),
        mended=tuple(now.name for was, now in both if now.ready and not was.ready),
    )


def settled(before: Mapping[str, Script], after: Mapping[str, Script]) -> dict[str, Script]:
    """`after`, where scripts that are being written are still what they were."""
    return {
        name: before.get(name, script) if script.changing else script
        for name, script in after.items()
    }


def _broke(both: list[tuple[Script, Script]], new: list[Script]) -> Iterator[str]:
    yield from (script.name for script in new if not script.ready)
    yield from (now.name for was, now in both if now.problem and now.problem != was.problem)


def _differs(was: Script, now: Script) -> bool:
    """Whether it would run otherwise; a file that was only touched would not."""
    return (was.sha256, was.policy, was.fallback) != (now.sha256, now.policy, now.fallback)
