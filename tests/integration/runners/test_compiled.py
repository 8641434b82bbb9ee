"""The code of a warm script is compiled once, and is never that of another version."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from mediator.model.delivery import Outcome
from mediator.runners.compiled import MOST, YOUNG, Codes
from mediator.runners.port import Run, Warm
from mediator.runners.prefork import Parents
from mediator.runners.process import ProcessRunner
from tests.integration.runners.support import Scripts, until


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A script that is not young any more, in the eyes of `Codes`."""
    script = tmp_path / "script.py"
    script.write_text("print(1)\n")
    script.chmod(0o755)
    return script


@pytest.fixture
def codes() -> Codes:
    """Codes for which nothing is young."""
    return Codes(young=-(10**18))


def test_what_was_learnt_is_not_compiled_again(codes: Codes, script: Path) -> None:
    codes.learn(str(script))
    assert codes.of(str(script), executed=True) is codes.of(str(script), executed=True)


def test_without_learning_it_is_compiled_each_time(codes: Codes, script: Path) -> None:
    assert codes.of(str(script), executed=True) is not codes.of(str(script), executed=True)


def test_a_script_that_changed_a_moment_ago_is_not_learnt(script: Path) -> None:
    codes = Codes()
    codes.learn(str(script))
    assert codes.of(str(script), executed=True) is not codes.of(str(script), executed=True)


@pytest.mark.parametrize("how", ["in place", "in place, with the old time", "by renaming"])
def test_a_script_that_changed_is_another(codes: Codes, script: Path, how: str) -> None:
    codes.learn(str(script))
    old = codes.of(str(script), executed=True)
    before = script.stat()
    changed = script if how.startswith("in place") else script.with_name("new")
    changed.write_text("print(2)\n")
    changed.chmod(0o755)
    if how == "in place, with the old time":
        os.utime(script, ns=(before.st_atime_ns, before.st_mtime_ns))
    changed.replace(script)
    assert codes.of(str(script), executed=True).co_consts != old.co_consts
    codes.learn(str(script))
    assert codes.of(str(script), executed=True).co_consts != old.co_consts


def test_a_script_that_the_compiler_warns_of_is_not_learnt(codes: Codes, script: Path) -> None:
    script.write_text("print('\\d')\n")
    with pytest.warns((SyntaxWarning, DeprecationWarning)):
        codes.of(str(script), executed=True)
    codes.learn(str(script))
    with pytest.warns((SyntaxWarning, DeprecationWarning)):
        codes.of(str(script), executed=True)


def test_only_so_many_scripts_are_kept(codes: Codes, script: Path) -> None:
    names = [str(script.with_name(f"{number}.py")) for number in range(3 * MOST)]
    for name in names:
        Path(name).write_text("pass")
        codes.learn(name)
    twice = [[codes.of(name, executed=False) for _ in range(2)] for name in names]
    kept = [first for first, second in twice if first is second]
    assert 0 < len(kept) <= MOST


def test_a_script_that_may_not_be_executed_has_no_code(codes: Codes, script: Path) -> None:
    codes.learn(str(script))
    script.chmod(0o644)
    with pytest.raises(PermissionError):
        codes.of(str(script), executed=True)
    codes.of(str(script), executed=False)


TOLD = """
import sys, pathlib
print(sys._getframe().f_code.co_filename, __file__, pathlib.Path(__file__).name)
print(VERSION)
raise SystemExit(3)
"""


async def test_an_old_script_runs_as_it_is_again_and_again(
    local_runner: ProcessRunner, parents: Parents, scripts: Scripts
) -> None:
    script = scripts.write(f"#!{sys.executable}\n{TOLD.replace('VERSION', '1')}")
    run = scripts.run(script, warm=Warm(command=(sys.executable,), script=script))
    assert await parents.prepare(run) == ""
    expected = f"{script} {script} {script.name}\n%d\n"
    old = script.stat().st_ctime_ns + YOUNG
    await until(lambda: time.time_ns() > old)
    for _ in range(4):
        assert await told(local_runner, run) == expected % 1
    script.write_text(f"#!{sys.executable}\n{TOLD.replace('VERSION', '2')}")
    for _ in range(4):
        assert await told(local_runner, run) == expected % 2


async def told(local_runner: ProcessRunner, run: Run) -> str:
    """What it printed, when it ended as it should."""
    ended = await local_runner.run(run, stop=asyncio.Event())
    assert (ended.outcome, ended.exit_code, ended.stderr.kept) == (Outcome.FAILED, 3, b"")
    return ended.stdout.kept.decode()
