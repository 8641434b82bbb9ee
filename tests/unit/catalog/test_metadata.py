"""What a script says of itself: the block inside it, and the file beside it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mediator.catalog.files import InvalidScript
from mediator.catalog.metadata import (
    Metadata,
    Requirements,
    find_block,
    normalised,
    read_block,
    read_sidecar,
)
from mediator.model.policy import Kind, Order

WHOLE = b"""#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "pytos2-ce>=3",
# ]
#
# [tool.mediator]
# description = "Tells the network team."
# kind = "condition"
# timeout = "2m"
# retry = { attempts = 3 }
# order = "ticket"
#
# [tool.uv]
# exclude-newer = "2026-01-01T00:00:00Z"
# ///
import sys
"""


def block(toml: str, *, before: str = "#!/bin/sh\n") -> bytes:
    lines = (f"# {line}".rstrip() for line in toml.splitlines())
    return "\n".join([f"{before}# /// script", *lines, "# ///", "exit 0", ""]).encode()


def stated(data: bytes, file: str = "notify.py") -> Metadata:
    found = find_block(data)
    assert found is not None
    return read_block(found, file)


def refusal(data: bytes) -> str:
    with pytest.raises(InvalidScript) as caught:
        stated(data)
    return str(caught.value)


def test_a_whole_block_is_read() -> None:
    said = stated(WHOLE)
    assert said.states_policy
    assert said.policy.kind is Kind.CONDITION
    assert said.policy.timeout == timedelta(minutes=2)
    assert said.policy.order is Order.TICKET
    assert said.policy.stated()["retry"] == {"attempts": 3}
    assert said.description == "Tells the network team."
    assert said.dependencies == ("pytos2-ce>=3",)
    assert said.requires_python == ">=3.11"


def test_a_block_of_other_tools_states_no_policy() -> None:
    said = stated(block("dependencies = []\n[tool.ruff]\nline-length = 100"))
    assert said == Metadata()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"#!/bin/sh\nexit 0\n", id="no block"),
        pytest.param(b"\x7fELF\x00\xff", id="a binary"),
        pytest.param(b"# /// other\n# a = 1\n# ///\n", id="a block of another type"),
        pytest.param(b'x = "# /// script"\n', id="only the words"),
    ],
)
def test_a_file_without_block_has_none(data: bytes) -> None:
    assert find_block(data) is None


def test_a_block_with_windows_line_ends_is_read() -> None:
    assert stated(WHOLE.replace(b"\n", b"\r\n")) == stated(WHOLE)


def test_a_comment_in_another_encoding_outside_the_block_is_no_problem() -> None:
    assert stated(WHOLE + b"# d\xe9j\xe0 vu\n") == stated(WHOLE)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        pytest.param(
            WHOLE + WHOLE,
            "it has more than one block `# /// script`, in lines 2 and 20; keep one.",
            id="two blocks",
        ),
        pytest.param(
            b"#!/bin/sh\n# /// script\n# a = 1\nexit\n# ///\n",
            "it has a block `# /// script` in line 2 that does not end; every line of it begins "
            "with `# `, and the last is `# ///`.",
            id="no end",
        ),
        pytest.param(
            WHOLE.replace(b"Tells", b"T\xe9lls"),
            "its block `# /// script` is not UTF-8 text; save the file as UTF-8.",
            id="latin-1",
        ),
        pytest.param(
            block("[tool.mediator]\ntimeout = 2m"),
            "notify.py:4: this is not TOML: Expected newline or end of document after a statement.",
            id="not TOML",
        ),
        pytest.param(
            block("[mediator]\ntimeout = '2m'"),
            "notify.py: in the block write [tool.mediator], not [mediator].",
            id="the wrong table",
        ),
        pytest.param(
            block("[tool.mediator]\nkind = 'trigger'\ntimout = '2m'"),
            "notify.py:5: timout is not a key that exists; did you mean timeout?",
            id="an unknown key",
        ),
        pytest.param(
            block("[tool.mediator]\nretry = { attempts = 0 }"),
            "notify.py:4: retry.attempts is 0, which is below 1.",
            id="a wrong value inside",
        ),
        pytest.param(
            block("[tool.mediator.retry]\natempts = 1"),
            "notify.py:4: retry.atempts is not a key that exists; did you mean retry.attempts?",
            id="an unknown key in a table of its own",
        ),
        pytest.param(
            block("[tool.mediator]\ntimout = '1s'\nconcurrency = 0"),
            "notify.py:5: concurrency is 0, which is below 1. "
            "notify.py:4: timout is not a key that exists; did you mean timeout?",
            id="two at once",
        ),
        pytest.param(
            block("dependencies = 'requests'"),
            "notify.py: dependencies is not a list.",
            id="text for dependencies",
        ),
        pytest.param(
            block("dependencies = [1]"),
            "notify.py: dependencies is not a list of text.",
            id="a number for a dependency",
        ),
        pytest.param(
            block("requires-python = 3"),
            "notify.py: requires-python is not text.",
            id="a number for the Python version",
        ),
        pytest.param(
            block("tool = 1"), "notify.py: tool is not a table.", id="a number for the tools"
        ),
        pytest.param(
            block("[tool.mediator]\ndescription = 1"),
            "notify.py: description is not text.",
            id="a number for the description",
        ),
        pytest.param(
            block("[tool.mediator]\nenv = { TOKEN = 12345 }"),
            "notify.py:4: env.TOKEN is a value that is not shown here, "
            "which is not text; write it in quotes.",
            id="a hidden value",
        ),
    ],
)
def test_a_wrong_block_is_refused_with_the_line_the_key_and_what_to_do(
    data: bytes, sentence: str
) -> None:
    assert refusal(data) == sentence


def test_the_file_beside_a_script_holds_the_policy_at_its_top() -> None:
    said = read_sidecar(b'description = "x"\nkind = "condition"\n', "check.pl.toml")
    assert said.states_policy
    assert (said.policy.kind, said.description) == (Kind.CONDITION, "x")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        pytest.param(b"\xff", "x.toml is not UTF-8 text; save it as UTF-8.", id="latin-1"),
        pytest.param(b"\n[", "x.toml:2: this is not TOML: Invalid initial", id="not TOML"),
        pytest.param(
            b"\nknd = 'trigger'\n",
            "x.toml:2: knd is not a key that exists; did you mean kind?",
            id="an unknown key",
        ),
    ],
)
def test_a_wrong_file_beside_a_script_is_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(InvalidScript) as caught:
        read_sidecar(data, "x.toml")
    assert str(caught.value).startswith(sentence)


def test_spelling_order_and_repetition_do_not_matter() -> None:
    stated = ["Zope.Interface >=5,<6", "requests[SOCKS]==2.*", "zope_interface<6,>=5"]
    assert normalised(stated, "a.py") == ("requests[SOCKS]==2.*", "zope-interface<6,>=5")


def test_markers_and_addresses_are_kept() -> None:
    stated = ["a; python_version < '3.12'", "b @ https://example.org/b.whl"]
    assert normalised(stated, "a.py") == (
        'a; python_version < "3.12"',
        "b @ https://example.org/b.whl",
    )


def test_options_in_the_first_line_do_not_divide_environments() -> None:
    one, other = Requirements(packages=("a",), flags=("-u",)), Requirements(packages=("a",))
    assert one != other
    assert one.shared == other.shared


def test_a_release_candidate_is_new_enough() -> None:
    assert Requirements(requires_python=">=3.11").accepts("3.12.0rc1")
    assert not Requirements(requires_python=">=3.13").accepts("3.12.9")
