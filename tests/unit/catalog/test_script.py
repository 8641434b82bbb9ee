"""Finding a script by the name a caller gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediator.catalog.script import Catalog, Script
from mediator.errors import NotFound, NotReady
from mediator.model.policy import resolve
from mediator.settings.schema import Settings

POLICY = resolve(Settings().policy_defaults)
DIRECTORY = Path("/scripts")


def script(name: str, problem: str = "") -> Script:
    return Script(name=name, path=DIRECTORY / name, policy=POLICY, problem=problem)


def catalog(*names: str, broken: str = "", others: frozenset[str] = frozenset()) -> Catalog:
    scripts = {name: script(name) for name in names}
    if broken:
        scripts[broken] = script(broken, "it is not executable; run chmod +x on it.")
    return Catalog(directory=DIRECTORY, scripts=scripts, others=others)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        pytest.param("notify.py", "notify.py", id="the exact name"),
        pytest.param("notify", "notify.py", id="the name without suffix"),
        pytest.param("mail", "mail", id="an exact name before one with a suffix"),
        pytest.param("check.v2", "check.v2.sh", id="only the last suffix is left out"),
    ],
)
def test_a_script_is_found(asked: str, found: str) -> None:
    there = catalog("notify.py", "mail", "mail.sh", "check.v2.sh")
    assert there.find(asked).name == found


def test_a_name_without_suffix_that_fits_two_scripts_names_both() -> None:
    with pytest.raises(NotFound) as caught:
        catalog("notify.py", "notify.sh").find("notify")
    assert str(caught.value) == (
        "the name notify is ambiguous here; say which is meant: notify.py and notify.sh."
    )


def test_an_unknown_name_is_answered_with_the_nearest_and_with_what_there_is() -> None:
    with pytest.raises(NotFound) as caught:
        catalog("notify.py", "close.sh").find("notfy.py")
    assert str(caught.value) == (
        "there is no script 'notfy.py'; did you mean notify.py? There are: notify.py, close.sh."
    )


def test_an_unknown_name_like_no_other_is_answered_with_what_there_is() -> None:
    with pytest.raises(NotFound) as caught:
        catalog("notify.py").find("zzz")
    assert str(caught.value) == "there is no script 'zzz'; there are: notify.py."


def test_twenty_names_are_listed_at_most() -> None:
    with pytest.raises(NotFound, match=r"s19\.sh and 5 more\.$"):
        catalog(*(f"s{number:02}.sh" for number in range(25))).find("zzz")


def test_an_empty_directory_is_called_empty() -> None:
    with pytest.raises(NotFound, match="the scripts directory holds none at all"):
        catalog().find("notify")


def test_a_file_that_is_no_script_is_answered_with_how_it_becomes_one() -> None:
    with pytest.raises(NotFound, match=r"data\.csv is no script: .* and run chmod \+x on it"):
        catalog("notify.py", others=frozenset({"data.csv"})).find("data.csv")


@pytest.mark.parametrize(
    "asked",
    ["", ".", "..", "../notify.py", "/etc/passwd", "./notify.py", "notify.py\x00", "x" * 10_000],
    ids=lambda asked: asked[:20].encode("unicode_escape").decode(),
)
def test_a_name_is_looked_up_and_never_a_path(asked: str) -> None:
    with pytest.raises(NotFound) as caught:
        catalog("notify.py").find(asked)
    assert "\x00" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_broken_script_is_found_but_not_ready() -> None:
    there = catalog("notify.py", broken="close.sh")
    assert not there.find("close").ready
    with pytest.raises(NotReady) as caught:
        there.ready("close")
    assert str(caught.value) == (
        "the script close.sh cannot run: it is not executable; run chmod +x on it."
    )


def test_a_good_script_is_ready() -> None:
    assert catalog("notify.py").ready("notify").ready
