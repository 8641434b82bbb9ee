from __future__ import annotations

import dataclasses
import json
import resource
from pathlib import Path

import pytest

from mediator.model.policy import Limits
from mediator.runners.attempt import specify
from mediator.runners.port import Run

RUN = Run(
    name="d1",
    program=Path("/scripts/notify.py"),
    arguments=("a\udcff", "\u00e9"),
    environment={"A": "b=c"},
    stdin=b"secret ticket",
    timeout=1,
    grace=1,
)


def test_the_whole_specification() -> None:
    assert json.loads(specify(RUN, Path("/work/d1"))) == {
        "argv": ["/scripts/notify.py", "a\xff", "\xc3\xa9"],
        "environment": {"A": "b=c"},
        "directory": "/work/d1",
        "limits": [[resource.RLIMIT_CORE, [0, 0]]],
    }


def test_every_limit_is_set_and_memory_last() -> None:
    limits = Limits.model_validate(
        {"cpu": "1500ms", "memory": 1, "file_size": 2, "files": 16, "processes": 3}
    )
    run = dataclasses.replace(RUN, limits=limits)
    assert json.loads(specify(run, Path("/")))["limits"] == [
        [resource.RLIMIT_CORE, [0, 0]],
        [resource.RLIMIT_CPU, [2, 3]],
        [resource.RLIMIT_FSIZE, [2, 2]],
        [resource.RLIMIT_NOFILE, [16, 16]],
        [resource.RLIMIT_NPROC, [3, 3]],
        [resource.RLIMIT_AS, [1, 1]],
    ]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"arguments": ("\0",)}, id="NUL in an argument"),
        pytest.param({"arguments": ("\ud800",)}, id="lone surrogate"),
        pytest.param({"program": Path("/a\0b")}, id="NUL in the path"),
        pytest.param({"environment": {"A": "\0"}}, id="NUL in a value"),
        pytest.param({"environment": {"A=B": ""}}, id="equals sign in a name"),
        pytest.param({"environment": {"": ""}}, id="empty name"),
    ],
)
def test_what_no_process_can_be_given_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        specify(dataclasses.replace(RUN, **changes), Path("/"))  # type: ignore[arg-type]
