"""An attempt runs one version of its script, the one that is there, and says which."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from mediator.catalog.files import fingerprint
from mediator.catalog.script import Catalog, Script
from tests.integration.dispatch.support import House
from tests.unit.dispatch.support import Scripts, script


@dataclass
class Reread(Scripts):
    """A catalog that is replaced by `after` when it is looked at again."""

    after: Catalog = field(kw_only=True)
    looks: int = 0

    async def look(self) -> None:
        self.looks += 1
        self.catalog = self.after


def version(path: Path, sha256: str, **changes: object) -> Script:
    path.write_text(f"#!/bin/sh\n# {sha256}\n")
    now = replace(script("a.py"), path=path, sha256=sha256, files=((path, fingerprint(path)),))
    return replace(now, **changes)  # type: ignore[arg-type]


def reread(before: Script, after: Catalog) -> Reread:
    return Reread(Scripts.of(before).catalog, after=after)


async def test_the_version_is_recorded(house: House, tmp_path: Path) -> None:
    house.scripts = Scripts.of(version(tmp_path / "a.py", "one"))
    house.dispatcher = house.another()
    house.runner.go.set()
    house.begin()
    found = await house.until_state(await house.accept(), "succeeded")
    assert found.attempts[0].script_sha256 == "one"


async def test_a_version_that_came_since_the_last_look_is_the_one_that_runs(
    house: House, tmp_path: Path
) -> None:
    old = version(tmp_path / "a.py", "one")
    new = version(tmp_path / "a.py", "two-and-longer")
    house.scripts = scripts = reread(old, Scripts.of(new).catalog)
    house.dispatcher = house.another()
    house.runner.go.set()
    house.begin()
    found = await house.until_state(await house.accept(), "succeeded")
    assert scripts.looks == 1
    assert found.attempts[0].script_sha256 == "two-and-longer"


@pytest.mark.parametrize(
    "now",
    [
        pytest.param({"problem": "it is being written."}, id="being written"),
        pytest.param(None, id="gone"),
    ],
)
async def test_a_delivery_waits_at_no_cost_for_a_script_that_is_being_replaced(
    house: House, tmp_path: Path, now: dict[str, object] | None
) -> None:
    old = version(tmp_path / "a.py", "one")
    new = version(tmp_path / "a.py", "two-and-longer")
    between = Scripts.of() if now is None else Scripts.of(replace(new, **now))  # type: ignore[arg-type]
    house.scripts = scripts = reread(old, between.catalog)
    house.dispatcher = house.another()
    house.runner.go.set()
    house.begin()
    delivery_id = await house.accept()
    found = await house.until_put_back(delivery_id)
    assert (found.failures, found.losses, house.runner.runs) == (0, 0, [])
    assert found.last_error == "its script is being replaced; it waits"
    scripts.catalog = Scripts.of(new).catalog
    house.store.notices.work()  # as a reload does
    found = await house.until_state(delivery_id, "succeeded")
    assert [attempt.script_sha256 for attempt in found.attempts] == ["", "two-and-longer"]
