"""SecureChange hands its arguments field over as one argument; both kinds of script get theirs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.mediator import Mediator

SHOW = """#!/usr/bin/env python3
# /// script
# [tool.mediator]
# kind = "validation"
# split_arguments = {split}
# ///
import sys
print(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def mediator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mediator]:
    made = Mediator(tmp_path_factory.mktemp("arguments"))
    made.script("whole.py", SHOW.format(split="false"))
    made.script("split.py", SHOW.format(split="true"))
    with made:
        yield made


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [
        pytest.param(["--mail a@b 'two words'"], ["--mail", "a@b", "two words"], id="one text"),
        pytest.param(["--mail", "a b"], ["--mail", "a", "b"], id="several are joined first"),
        pytest.param([r"a\ b $HOME `id` *"], ["a b", "$HOME", "`id`", "*"], id="nothing expands"),
        pytest.param([], [], id="none"),
    ],
)
def test_arguments_are_split_where_the_policy_wants_it(
    mediator: Mediator, arguments: list[str], seen: list[str]
) -> None:
    assert mediator.shim("split.py", *arguments, stdin=b"").stdout.decode() == f"{seen}\n"
    expected = f"{arguments}\n"
    assert mediator.shim("whole.py", *arguments, stdin=b"").stdout.decode() == expected


def test_the_generic_name_and_the_script_may_be_one_argument(mediator: Mediator) -> None:
    whole = mediator.shim("whole.py --mail 'a b'", stdin=b"")
    assert whole.stdout.decode() == f"""{["--mail 'a b'"]}\n"""
    split = mediator.shim("split.py --mail 'a b'", stdin=b"")
    assert split.stdout.decode() == f"{['--mail', 'a b']}\n"


def test_arguments_that_cannot_be_split_are_told(mediator: Mediator) -> None:
    done = mediator.shim("split.py", "it's", stdin=b"")
    assert done.returncode == 75
    assert b"its arguments cannot be split" in done.stderr
    assert b"no closing quotation" in done.stderr
