"""The shell program that starts a script in its container, for any POSIX shell.

It stands in the Secret beside the ticket: arguments and variables are as private as that, and in a
file they may be any bytes, which the strings of a Job cannot.

Kubernetes mixes what a container writes to its two outputs. So standard error goes through a named
pipe to a container of its own, which does nothing but write it to its log.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping

from mediator.model.policies import Limits
from mediator.runners.kubernetes.naming import STDERR, TICKET, TICKET_DIRECTORY
from mediator.runners.port import Run

REFUSED = "refused: "
"""Begins the termination message of an attempt whose script could not be started."""
CANNOT_EXECUTE = 126
"""What shells end with in such a case."""
_MESSAGE = "/dev/termination-log"
_OF_THE_CLUSTER = (
    "KUBERNETES_PORT KUBERNETES_PORT_443_TCP KUBERNETES_PORT_443_TCP_ADDR "
    "KUBERNETES_PORT_443_TCP_PORT KUBERNETES_PORT_443_TCP_PROTO KUBERNETES_SERVICE_HOST "
    "KUBERNETES_SERVICE_PORT KUBERNETES_SERVICE_PORT_HTTPS"
)
"""Variables that every container is given, asked for or not."""

RELAY = f"mkfifo {STDERR} 2>/dev/null; exec <{STDERR}; trap '' TERM; exec cat"
"""What the other container runs.

It ends when the script and all it started have ended, and not before, so that nothing is lost; but
as long as there is no script it can be ended.
"""


def starter(run: Run, program: str) -> bytes:
    """The program that starts `program`, a path in the pod, as the run describes it.

    Raises ValueError for what no process can be given: NUL bytes, or `=` in a variable's name.
    """
    if any(not name or "=" in name for name in run.environment):
        raise ValueError("a variable's name is empty or contains '='")
    lines = (
        f"mkfifo {STDERR} 2>/dev/null",
        f"exec 2>{STDERR} || exit {CANNOT_EXECUTE}",
        f"refuse() {{ printf '{REFUSED}%s' \"$1\" >{_MESSAGE}; exit {CANNOT_EXECUTE}; }}",
        f"p={_quoted(program)}",
        '[ -e "$p" ] || refuse "there is no $p in the pod"',
        '[ -f "$p" ] || refuse "$p is not a file"',
        '[ -x "$p" ] || refuse "$p is not executable by the pod\'s user"',
        f"unset {_OF_THE_CLUSTER}",
        *_limits(run.limits),
        f"exec {_command(program, run.environment, run.arguments)} <{TICKET_DIRECTORY}/{TICKET}",
    )
    return os.fsencode("\n".join(lines) + "\n")


def _command(program: str, environment: Mapping[str, str], arguments: tuple[str, ...]) -> str:
    """`env` takes names that a shell would not hand on, but no program with `=` in its path."""
    variables = (_quoted(f"{name}={value}") for name, value in sorted(environment.items()))
    started = """/bin/sh -c 'exec "$0" "$@"' "$p\"""" if "=" in program else '"$p"'
    return " ".join(("env", *variables, started, *map(_quoted, arguments)))


def _quoted(text: str) -> str:
    if "\0" in text:
        raise ValueError("an argument or variable contains a NUL byte")
    return "'" + text.replace("'", "'\\''") + "'"


def _limits(limits: Limits) -> Iterator[str]:
    """Units are those of POSIX: seconds, KiB of memory, 512 bytes of a file."""
    yield "ulimit -c 0"  # a core dump would hold the ticket
    if limits.cpu is not None:
        yield f"ulimit -t {math.ceil(limits.cpu.total_seconds())}"
    if limits.file_size is not None:
        yield f"ulimit -f {math.ceil(limits.file_size / 512)}"
    if limits.files is not None:
        yield f"ulimit -n {limits.files}"
    if limits.memory is not None:
        yield f"ulimit -v {math.ceil(limits.memory / 1024)}"
