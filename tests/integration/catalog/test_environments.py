"""Scripts run with the packages they state, installed before the first delivery."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pytest
from tenacity import wait_none

from mediator.catalog.environments.builder import (
    Builder,
    Environments,
    ResolvedEnvironment,
    prepare,
    with_environments,
)
from mediator.catalog.environments.uv import BuildFailed
from mediator.catalog.loader import ScriptsDirectory
from mediator.catalog.metadata import Requirements
from mediator.catalog.script import Catalog, EnvironmentState, Script
from mediator.metrics import Metrics
from mediator.settings.schema import Settings
from tests.support.catalog import builder_of, live, put, settings_in
from tests.support.conditions import eventually
from tests.support.metrics import sample
from tests.support.wheels import make_wheel

pytestmark = pytest.mark.usefixtures("no_task_left")
ABSURD = ">=3.99"
TELLS = """
import json, sys, tiny
import beside
print(json.dumps([tiny.VALUE, beside.VALUE, __file__, sys.path[0], sys.argv[1:], sys.prefix]))
"""


def stating(*dependencies: str, python: str = "", text: str = "", line: str = "") -> str:
    requires = f'# requires-python = "{python}"\n' if python else ""
    first = line or "#!/usr/bin/env python3"
    return f"{first}\n# /// script\n{requires}# dependencies = {list(dependencies)}\n# ///\n{text}"


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    directory = tmp_path / "wheels"
    make_wheel(directory, "tiny", "1.0")
    make_wheel(directory, "tiny", "2.0")
    make_wheel(directory, "big", requires="tiny<2")
    return directory


@pytest.fixture
def settings(tmp_path: Path, wheels: Path) -> Settings:
    return settings_in(tmp_path, environments={"wheels": [wheels]})


@pytest.fixture
def builder(settings: Settings) -> Builder:
    return builder_of(settings)


def load(settings: Settings) -> Catalog:
    return ScriptsDirectory(settings=settings).load()


def run(script: Script, *arguments: str) -> object:
    """As a runner would."""
    argv = [*script.interpreter, str(script.path), *arguments]
    ended = subprocess.run(argv, check=True, capture_output=True, text=True)
    return json.loads(ended.stdout)


def environments(settings: Settings) -> list[str]:
    directory = settings.environments.directory
    names = directory.iterdir() if directory.exists() else ()
    return sorted(path.name for path in names if len(path.name) == 16)


async def test_a_script_finds_its_packages_and_what_lies_beside_it(
    tmp_path: Path, scripts: Path, wheels: Path
) -> None:
    put(scripts, "beside.py", "VALUE = 'beside'\n", mode=0o644)
    async with live(tmp_path, environments={"wheels": [wheels]}) as there:
        put(scripts, "a.py", stating("Tiny>=1,<2", text=TELLS))
        script = await there.until_ready("a.py")
        assert script.environment is EnvironmentState.READY
        assert script.unchanged()
        value = run(script, "x", "y z")
        prefix = str(tmp_path / "state" / "environments")
        assert isinstance(value, list)
        assert value[:2] == ["1.0", "beside"]
        assert value[2:5] == [str(scripts / "a.py"), str(scripts), ["x", "y z"]]
        assert value[5].startswith(prefix)


async def test_a_script_is_not_ready_while_its_environment_is_built_and_then_is(
    tmp_path: Path, scripts: Path, wheels: Path
) -> None:
    put(scripts, "a.py", stating("tiny"))
    async with live(tmp_path, environments={"wheels": [wheels]}) as there:
        script = there.script("a.py")
        assert script is not None
        assert script.problem == "its environment is being built."
        assert script.environment is EnvironmentState.BUILDING
        await there.until_ready("a.py")
        assert there.told[-1].mended == ("a.py",)
        assert sample(there.metrics, "mediator_environment_builds_total", result="ok") == 1
    async with live(tmp_path, environments={"wheels": [wheels]}) as again:
        script = again.script("a.py")
        assert script is not None
        assert script.ready, "what was built before is there at once"


async def test_a_script_whose_new_version_needs_other_packages_takes_deliveries_meanwhile(
    tmp_path: Path, scripts: Path, wheels: Path
) -> None:
    put(scripts, "a.py", stating("tiny"))
    async with live(tmp_path, environments={"wheels": [wheels]}) as there:
        await there.until_ready("a.py")
        seen: list[Script | None] = []
        there.scripts.listen(lambda _: seen.append(there.script("a.py")))
        put(scripts, "a.py", stating("tiny", "big"))
        await there.until_ready("a.py", "big")
        assert not all(script.ready for script in seen if script)
        assert all(script.takes_deliveries for script in seen if script)
        put(scripts, "a.py", stating("nowhere"))
        script = await there.until_problem("a.py", "could not be built")
        assert not script.takes_deliveries
        put(scripts, "a.py", stating("nowhere", "tiny"))
        await there.scripts.look()
        now = there.script("a.py")
        assert now is not None
        assert not now.takes_deliveries


async def test_a_failure_is_said_in_the_words_of_uv_and_a_new_version_tried_at_once(
    tmp_path: Path, scripts: Path, wheels: Path
) -> None:
    put(scripts, "a.py", stating("tiny>=9"))
    async with live(tmp_path, environments={"wheels": [wheels]}) as there:
        script = await there.until_problem("a.py", "could not be built")
        assert script.problem.startswith(
            "its environment could not be built: No solution found when resolving dependencies: "
            "Because only tiny<=2.0 is available and you require tiny>=9, "
        )
        assert script.problem.endswith("unsatisfiable.")
        assert script.environment is EnvironmentState.FAILED
        assert sample(there.metrics, "mediator_environment_builds_total", result="failed") == 1
        put(scripts, "a.py", stating("tiny>=2"))
        await there.until_ready("a.py")


async def test_touching_the_script_tries_a_failed_build_again(
    tmp_path: Path, scripts: Path, wheels: Path
) -> None:
    path = put(scripts, "a.py", stating("late"))
    async with live(tmp_path, environments={"wheels": [wheels]}) as there:
        await there.until_problem("a.py", "could not be built")
        make_wheel(wheels, "late")
        path.touch()
        await there.until_ready("a.py")


async def test_a_failed_build_is_tried_again_by_itself(builder: Builder, wheels: Path) -> None:
    needed, told = Requirements(packages=("late",), interpreter=sys.executable), asyncio.Event()
    kept = Environments(builder, metrics=Metrics(), changed=told.set, wait=wait_none())
    await kept.require([needed])

    async def state() -> EnvironmentState:
        return kept.get(needed).state

    await eventually(state, until=lambda seen: seen is EnvironmentState.FAILED)
    make_wheel(wheels, "late")
    await eventually(state, until=lambda seen: seen is EnvironmentState.READY)
    assert told.is_set()
    await kept.close()


class FaultyOnce(Builder):
    """Has a fault of its own at the first build."""

    faults: ClassVar[list[Exception]] = [ZeroDivisionError()]

    async def build(self, requirements: Requirements, resolved: ResolvedEnvironment) -> bool:
        if self.faults:
            raise self.faults.pop()
        return await Builder.build(self, requirements, resolved)


async def test_a_fault_of_the_mediator_is_said_and_tried_again_at_the_next_look(
    builder: Builder,
) -> None:
    needed = Requirements(packages=("tiny",), interpreter=sys.executable)
    faulty = FaultyOnce(uv=builder.uv, cache=builder.cache)
    kept = Environments(faulty, metrics=Metrics(), changed=lambda: None)

    async def problem() -> str:
        return kept.get(needed).problem

    await kept.require([needed])
    told = await eventually(problem, until=lambda seen: "mediator itself" in seen)
    assert told.endswith("the mediator itself failed (ZeroDivisionError).")
    await kept.require([needed])
    await eventually(problem, until=lambda seen: seen == "")
    await kept.close()


async def test_a_build_that_nobody_wants_any_more_leaves_nothing(
    settings: Settings, builder: Builder
) -> None:
    needed = Requirements(packages=("tiny",), interpreter=sys.executable)
    kept = Environments(builder, metrics=Metrics(), changed=lambda: None)
    directory = settings.environments.directory
    await kept.require([needed])

    async def begun() -> bool:
        return directory.exists() and any(directory.glob(".????????????????.*"))

    await eventually(begun)
    await kept.require([])
    await kept.close()
    assert not await begun()
    assert environments(settings) == []


async def test_scripts_that_state_the_same_share_one(
    scripts: Path, settings: Settings, builder: Builder
) -> None:
    put(scripts, "a.py", stating("tiny", "big"))
    put(scripts, "b.py", stating("Big", "TINY", line="#!/usr/bin/env -S python3 -u"))
    put(scripts, "c.py", stating("tiny"))
    made = await prepare(load(settings).scripts.values(), builder)
    assert [(one.scripts, one.built) for one in made] == [
        (("a.py", "b.py"), True),
        (("c.py",), True),
    ]
    assert len(environments(settings)) == 2
    seen = await with_environments(load(settings), builder)
    a, b = (seen.ready(name).interpreter for name in ("a.py", "b.py"))
    assert b == (*a, "-u")
    assert [one.built for one in await prepare(seen.scripts.values(), builder)] == [False, False]


async def test_many_mediators_build_it_once(scripts: Path, settings: Settings) -> None:
    put(scripts, "a.py", stating("tiny"))
    catalog = load(settings).scripts.values()
    made = await asyncio.gather(*(prepare(catalog, builder_of(settings)) for _ in range(4)))
    assert sorted(one.built for (one,) in made) == [False, False, False, True]


async def test_what_is_not_prepared_is_said_and_nothing_is_made(
    scripts: Path, settings: Settings, builder: Builder
) -> None:
    put(scripts, "a.py", stating("tiny"))
    script = (await with_environments(load(settings), builder)).find("a.py")
    assert script.problem.startswith("its environment is not built yet")
    assert not settings.environments.directory.exists()


async def test_preparing_tells_what_it_cannot_build_and_builds_the_rest(
    scripts: Path, settings: Settings, builder: Builder
) -> None:
    put(scripts, "a.py", stating("nowhere"))
    put(scripts, "b.py", stating("tiny"))
    put(scripts, "c.py", stating("tiny", python=ABSURD))
    a, b, c = await prepare(load(settings).scripts.values(), builder)
    assert "nowhere was not found" in a.problem
    assert b.problem == ""
    assert c.problem.startswith(f"a Python {ABSURD} is not installed here; ")


async def test_the_prepared_are_used_offline_on_a_disk_that_cannot_be_written(
    scripts: Path, settings: Settings, builder: Builder
) -> None:
    put(scripts, "a.py", stating("tiny", text="print(1)"))
    await prepare(load(settings).scripts.values(), builder)
    for path in (settings.environments.directory, *settings.environments.directory.iterdir()):
        path.chmod(path.stat().st_mode & ~0o222)
    script = (await with_environments(load(settings), builder)).ready("a.py")
    assert run(script) == 1
    builder.cache.touch(script.interpreter[0].split("/")[-3])


async def test_preparing_what_is_there_needs_to_write_nothing(
    scripts: Path, settings: Settings, builder: Builder
) -> None:
    put(scripts, "a.py", stating("tiny"))
    (made,) = await prepare(load(settings).scripts.values(), builder)
    lock = builder.cache.directory / f"{made.key}.lock"
    lock.unlink()
    lock.mkdir()  # nobody can open that for writing, root neither
    (again,) = await prepare(load(settings).scripts.values(), builder)
    assert (again.key, again.problem, again.built) == (made.key, "", False)


async def test_an_environment_that_was_deleted_is_built_again(
    tmp_path: Path, scripts: Path, wheels: Path
) -> None:
    put(scripts, "a.py", stating("tiny"))
    async with live(tmp_path, environments={"wheels": [wheels]}) as there:
        script = await there.until_ready("a.py")
        Path(script.interpreter[0]).unlink()
        assert not script.unchanged()
        await there.scripts.look()
        now = there.script("a.py")
        assert now is not None
        assert not now.ready
        await there.until_ready("a.py")


async def test_unused_ones_are_removed(scripts: Path, settings: Settings, builder: Builder) -> None:
    put(scripts, "a.py", stating("tiny"))
    put(scripts, "b.py", stating("big"))
    await prepare(load(settings).scripts.values(), builder)
    needed = load(settings).ready("a.py").requirements
    assert needed is not None
    kept = Environments(builder, metrics=Metrics(), changed=lambda: None)
    await kept.require([needed])
    await kept.collect_garbage(keep_unused=timedelta(days=7))
    assert len(environments(settings)) == 2
    await kept.collect_garbage(keep_unused=timedelta(0))
    assert environments(settings) == [(await builder.resolve(needed)).key]
    await kept.close()


async def test_a_build_that_takes_too_long_is_ended_with_all_it_started(
    tmp_path: Path, wheels: Path
) -> None:
    settings = settings_in(tmp_path, environments={"wheels": [wheels], "build_timeout": "1ms"})
    made = builder_of(settings)
    needed = Requirements(packages=("tiny",), interpreter=sys.executable)
    with pytest.raises(BuildFailed, match=r"took longer than 0\.001 seconds"):
        await made.build(needed, await made.resolve(needed))
    assert environments(settings) == []


class TestWhichPython:
    async def test_the_first_line_decides_when_it_is_new_enough(
        self, scripts: Path, settings: Settings, builder: Builder
    ) -> None:
        put(scripts, "a.py", stating(python=">=3.6"))
        script = (await with_environments(load(settings), builder)).ready("a.py")
        assert (script.interpreter, script.environment) == ((), EnvironmentState.NONE)

    async def test_another_installed_one_is_taken_when_it_is_not(
        self, scripts: Path, settings: Settings, builder: Builder, tmp_path: Path
    ) -> None:
        old = put(tmp_path, "python3", "#!/bin/sh\necho /old\necho 3.1.4\n")
        put(scripts, "a.py", stating(python=">=3.6", line=f"#!{old} -u"))
        script = (await with_environments(load(settings), builder)).ready("a.py")
        assert Path(script.interpreter[0]).is_file()
        assert script.interpreter[1] == "-u"

    async def test_without_any_the_reason_names_what_there_is(
        self, scripts: Path, settings: Settings, builder: Builder, tmp_path: Path
    ) -> None:
        here = put(tmp_path, "python3", "#!/bin/sh\necho /usr/bin/python3.1\necho 3.1.4\n")
        put(scripts, "a.py", stating(python=ABSURD, line=f"#!{here}"))
        script = (await with_environments(load(settings), builder)).find("a.py")
        assert script.problem == (
            f"it cannot be started: a Python {ABSURD} is not installed here; "
            "/usr/bin/python3.1 is 3.1.4."
        )

    async def test_uv_run_needs_no_uv_where_scripts_look(
        self, scripts: Path, settings: Settings, builder: Builder
    ) -> None:
        line = "#!/usr/bin/env -S uv run --script"
        put(scripts, "a.py", stating(line=line, text="print(1)"))
        put(scripts, "b.py", stating("tiny", line=line, text="import tiny; print(tiny.VALUE)"))
        await prepare(load(settings).scripts.values(), builder)
        seen = await with_environments(load(settings), builder)
        assert run(seen.ready("a.py")) == 1
        assert run(seen.ready("b.py")) == 2.0

    async def test_the_settings_may_name_it(self, tmp_path: Path, scripts: Path) -> None:
        chosen = put(tmp_path, "chosen", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        settings = settings_in(tmp_path, environments={"python": str(chosen)})
        put(scripts, "a.py", stating("tiny"))
        needed = load(settings).ready("a.py").requirements
        assert needed is not None
        assert (await builder_of(settings).resolve(needed)).python.asked == str(chosen)


async def test_uv_sees_no_secret_of_the_daemon(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIATOR_STORE__URL", "canary-4f1c")
    spy = put(tmp_path, "spy", "#!/bin/sh\nenv\n")
    ended = await builder_of(settings, os.environ).uv.execute([str(spy)], seconds=60)
    assert "PATH=" in ended.stdout
    assert "canary-4f1c" not in ended.stdout
