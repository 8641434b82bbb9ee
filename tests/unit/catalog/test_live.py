"""What listeners are told of a new catalog."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from mediator.catalog.live import ScriptChanges, changes_between, last_good
from mediator.catalog.script import Script
from mediator.model.policy import resolve
from mediator.settings.schema import Settings

POLICY = resolve(Settings().policy_defaults)


def script(name: str, *, problem: str = "", sha256: str = "1", changing: bool = False) -> Script:
    return Script(
        name=name,
        path=Path("/scripts") / name,
        policy=POLICY,
        problem=problem,
        sha256=sha256,
        changing=changing,
    )


def of(*scripts: Script) -> dict[str, Script]:
    return {one.name: one for one in scripts}


def test_nothing_has_happened() -> None:
    assert not changes_between(of(script("a")), of(script("a")))


def test_scripts_come_and_go() -> None:
    assert changes_between(of(script("a")), of(script("b"))) == ScriptChanges(
        added=("b",), removed=("a",)
    )


def test_a_new_script_may_be_broken() -> None:
    assert changes_between({}, of(script("a", problem="x."))) == ScriptChanges(
        added=("a",), broke=("a",)
    )


def test_a_script_breaks_for_another_reason_and_is_mended() -> None:
    states = [script("a", problem=problem) for problem in ("", "x.", "y.", "y.", "")]
    changes = [changes_between(of(was), of(now)) for was, now in pairwise(states)]
    broke, none = ScriptChanges(broke=("a",)), ScriptChanges()
    assert changes == [broke, broke, none, ScriptChanges(mended=("a",))]


def test_text_and_policy_are_changes() -> None:
    assert changes_between(of(script("a")), of(script("a", sha256="2"))).changed == ("a",)
    other = replace(script("a"), policy=POLICY.model_copy(update={"timeout": timedelta(1)}))
    assert changes_between(of(script("a")), of(other)).changed == ("a",)


def test_a_script_that_is_being_written_is_still_what_it_was() -> None:
    before, writing = of(script("a")), of(script("a", problem="w.", changing=True))
    assert last_good(before, writing) == before
    assert last_good({}, writing) == writing
