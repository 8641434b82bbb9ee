"""`mediator new`: every script it writes is run by a real mediator."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mediator.cli.new import Language, Skeleton
from mediator.model.answers import problem_of_answer
from mediator.model.policy import ANSWERS, Kind
from tests.support.mediator import Client, Mediator

EVERY = [
    pytest.param(kind, language, id=f"{kind} in {language}")
    for kind in Kind
    for language in Language
]
SHELLCHECK = Path(sys.executable).with_name("shellcheck")


def new(mediator: Mediator, *arguments: str) -> subprocess.CompletedProcess[str]:
    return mediator.cli("new", *arguments)


def stem(kind: Kind, language: Language) -> str:
    return f"{kind}-in-{language}"


@pytest.fixture(scope="module")
def mediator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mediator]:
    """A running mediator, all of whose scripts are new."""
    made = Mediator(tmp_path_factory.mktemp("mediator"))
    for kind in Kind:
        for language in Language:
            done = new(made, stem(kind, language), "--kind", kind, "--language", language)
            assert done.returncode == 0, done.stderr
    with made:
        yield made


def skeleton(kind: Kind, language: Language) -> Skeleton:
    suffix = ".py" if language is Language.PYTHON else ".sh"
    return Skeleton(name=stem(kind, language) + suffix, kind=kind, language=language)


@pytest.mark.parametrize(("kind", "language"), EVERY)
async def test_a_new_script_answers_its_sample_as_its_kind_must(
    mediator: Mediator, kind: Kind, language: Language
) -> None:
    made = skeleton(kind, language)
    stdin = (mediator.scripts / made.sample_name).read_bytes()
    event = made.call[1]
    shim = mediator.shim(
        stem(kind, language), *made.arguments, stdin=stdin, event=event,
        environment=None if event else {"SCW_EVENT": ""},
    )  # fmt: skip
    assert shim.returncode == 0, shim.stderr
    if kind.interactive:
        assert shim.stdout
        assert problem_of_answer(shim.stdout, roots=ANSWERS[kind]) == ""
        return
    async with Client(mediator.url) as client:
        (item,) = (await client.get(f"/v1/deliveries?script={made.name}&event=CREATE")).json()[
            "items"
        ]
        delivery = await client.until(item["id"], "succeeded", "dead")
    assert delivery["state"] == "succeeded", delivery
    assert delivery["attempts"][-1]["stdout"].startswith(
        f"delivery {item['id']}: CREATE of ticket 4711"
    )


@pytest.mark.parametrize(("kind", "language"), EVERY)
def test_a_new_script_is_content_with_the_test_button(
    mediator: Mediator, kind: Kind, language: Language
) -> None:
    called_with_id = kind in {Kind.CONDITION, Kind.ASSIGNMENT}
    arguments = ["test"] if called_with_id else []
    shim = mediator.shim(stem(kind, language), *arguments, stdin=b"<ticket_info/>", event="TEST")
    assert shim.returncode == 0, shim.stderr
    assert problem_of_answer(shim.stdout, roots=ANSWERS[kind]) == ""


def test_check_finds_nothing_wrong_with_new_scripts(mediator: Mediator) -> None:
    done = mediator.cli("check")
    assert done.returncode == 0, done.stdout
    states = {
        line.split()[0]: line.split()[1] for line in done.stdout.splitlines() if "-in-" in line
    }
    assert states == {skeleton(k, la).name: "ok" for k in Kind for la in Language}


@pytest.mark.parametrize("kind", Kind)
def test_the_run_that_new_proposes_ends_well(kind: Kind, tmp_path: Path) -> None:
    mediator = Mediator(tmp_path)
    told = new(mediator, "mine", "--kind", kind).stdout
    commands = [shlex.split(line)[1:] for line in told.splitlines() if line.startswith("mediator ")]
    assert [words[0] for words in commands] == ["check", "run", "watch"]
    done = mediator.cli(*commands[1])
    assert done.returncode == 0, done.stderr
    assert "mediator would be done" in done.stderr or "would get this answer" in done.stderr


def test_it_is_executable_for_all_whatever_the_umask(tmp_path: Path) -> None:
    mediator = Mediator(tmp_path)
    before = os.umask(0o077)
    try:
        assert new(mediator, "mine").returncode == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE((mediator.scripts / "mine.py").stat().st_mode) == 0o755
    assert stat.S_IMODE((mediator.scripts / "mine.sample.xml").stat().st_mode) == 0o644


def test_nothing_is_written_over(tmp_path: Path) -> None:
    mediator = Mediator(tmp_path)
    script = mediator.script("mine.py", "mine")
    done = new(mediator, "mine")
    assert done.returncode == 1
    assert "mine.py is there already" in done.stderr
    assert script.read_text() == "mine"
    assert [path.name for path in mediator.scripts.iterdir()] == ["mine.py"]


def test_a_sample_of_ones_own_stays(tmp_path: Path) -> None:
    mediator = Mediator(tmp_path)
    sample = mediator.scripts / "mine.sample.xml"
    sample.write_text("<ticket_info/>")
    done = new(mediator, "mine")
    assert done.returncode == 0
    assert "stays as it is" in done.stderr
    assert sample.read_text() == "<ticket_info/>"


def test_a_name_that_would_be_ambiguous_is_refused(tmp_path: Path) -> None:
    mediator = Mediator(tmp_path)
    mediator.script("mine.sh", "#!/bin/sh\n")
    done = new(mediator, "mine.py")
    assert done.returncode == 1
    assert "ambiguous" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["../mine"], "without directory", id="a path"),
        pytest.param([".mine"], "no name for a script", id="a hidden file"),
        pytest.param(["mine.rb"], "not .rb", id="another language"),
        pytest.param(["mine.py", "--language", "bash"], "--language says bash", id="two languages"),
        pytest.param(["mine", "--kind", "conditon"], "conditon", id="no kind"),
    ],
)
def test_a_wrong_command_writes_nothing(tmp_path: Path, arguments: list[str], said: str) -> None:
    mediator = Mediator(tmp_path)
    done = new(mediator, *arguments)
    assert done.returncode == 64
    assert said in done.stderr
    assert list(mediator.scripts.iterdir()) == []


def test_it_needs_no_settings_and_makes_the_directory(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mediator", "new", "mine", "--directory", "a/b"],
        capture_output=True,
        check=False,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a/b/mine.py").exists()


@pytest.mark.parametrize("kind", Kind)
def test_new_bash_is_clean(kind: Kind, tmp_path: Path) -> None:
    script = tmp_path / "mine.sh"
    script.write_text(Skeleton(name=script.name, kind=kind, language=Language.BASH).text())
    checked = subprocess.run([SHELLCHECK, script], capture_output=True, check=False, text=True)
    assert checked.returncode == 0, checked.stdout
