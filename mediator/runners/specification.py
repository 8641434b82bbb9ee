"""What the launcher is told about one attempt: the file format between daemon and launcher."""

from __future__ import annotations

import json
import math
import os
import resource
from collections.abc import Iterator
from pathlib import Path

from mediator.model.policies import Limits
from mediator.runners.port import Run


def specify(run: Run, directory: Path) -> bytes:
    """Describe an attempt for `launcher.py`.

    Strings travel as bytes decoded by Latin-1, so that arguments which are not UTF-8 survive.
    Raises ValueError for what no process can be given: NUL bytes, `=` in a variable's name, or
    characters that the file system's encoding lacks (UnicodeEncodeError is a ValueError).
    """
    if any(not name or "=" in name for name in run.environment):
        raise ValueError("a variable's name is empty or contains '='")
    return json.dumps(
        {
            "argv": [_text(part) for part in (str(run.program), *run.arguments)],
            "environment": {_text(k): _text(v) for k, v in run.environment.items()},
            "directory": _text(str(directory)),
            "limits": list(_limits(run.limits)),
        }
    ).encode()


def _text(value: str) -> str:
    encoded = os.fsencode(value)
    if b"\0" in encoded:
        raise ValueError("an argument or variable contains a NUL byte")
    return encoded.decode("latin-1")


def _limits(limits: Limits) -> Iterator[tuple[int, tuple[int, int]]]:
    """Number, soft and hard bound of each limit, as setrlimit(2) takes them."""
    yield resource.RLIMIT_CORE, (0, 0)  # a core dump would hold the ticket
    if limits.cpu is not None:
        seconds = math.ceil(limits.cpu.total_seconds())
        yield resource.RLIMIT_CPU, (seconds, seconds + 1)  # SIGXCPU first, so that the cause shows
    for number, bound in (
        (resource.RLIMIT_FSIZE, limits.file_size),
        (resource.RLIMIT_NOFILE, limits.files),
        (resource.RLIMIT_NPROC, limits.processes),
        (resource.RLIMIT_AS, limits.memory),  # the last one, for the launcher's child obeys it too
    ):
        if bound is not None:
            yield number, (bound, bound)
