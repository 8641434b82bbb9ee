"""The environment of a script: what SecureChange gave, a few basics, and what was asked for.

Nothing else of the daemon's environment gets through, above all no secret of it. Also its
arguments, where they are to be split, and what it may be a fork of, which needs to know the same.
"""

from __future__ import annotations

import os
import pwd
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from mediator.catalog.script import Script
from mediator.errors import BadRequest
from mediator.model.delivery import Delivery
from mediator.model.policy import Policy, RunnerName
from mediator.runners.port import Warm
from mediator.tracing.context import TraceContext

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LOCAL_TIME = Path("/etc/localtime")


def environment(
    delivery: Delivery,
    policy: Policy,
    *,
    number: int,
    daemon: Mapping[str, str],
    trace: TraceContext | None = None,
) -> dict[str, str]:
    """The whole environment of attempt `number`; later entries win over earlier ones.

    `trace`: the span it belongs to; without one there are no variables of a trace. In a pod the
    `PATH` and `HOME` of this machine mean nothing.
    """
    return {
        **({} if policy.in_pod else basics(daemon)),
        **delivery.variables,
        **_asked_for(policy, daemon),
        "MEDIATOR_DELIVERY_ID": delivery.id,
        "MEDIATOR_ATTEMPT": str(number),
        "MEDIATOR_TICKET_ID": delivery.ticket.id or "",
        **(trace.variables if trace is not None else {}),
    }


def lasting(policy: Policy, daemon: Mapping[str, str]) -> dict[str, str]:
    """What of it is the same for every attempt of a script."""
    return {**basics(daemon), **_asked_for(policy, daemon)}


def _asked_for(policy: Policy, daemon: Mapping[str, str]) -> dict[str, str]:
    return {**{name: daemon[name] for name in policy.pass_env if name in daemon}, **policy.env}


def basics(
    daemon: Mapping[str, str], *, local_time: Path = LOCAL_TIME, user: int | None = None
) -> dict[str, str]:
    """`PATH HOME LANG TZ`, from the daemon or what a login of `user` (its own) would set.

    `local_time`: the file that says which time zone this machine is in, if it is there.
    """
    return {
        "PATH": daemon.get("PATH") or _DEFAULT_PATH,
        "HOME": daemon.get("HOME") or _home(os.getuid() if user is None else user),
        "LANG": daemon.get("LANG") or "C.UTF-8",
        "TZ": daemon.get("TZ") or (f":{local_time}" if local_time.exists() else "UTC"),
    }


def _home(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_dir
    except KeyError:  # a container may run as a user that has no entry
        return "/"


class UnsplittableError(BadRequest):
    """The arguments cannot be split; the message says why, for a person."""


def split(arguments: Sequence[str]) -> tuple[str, ...]:
    """All arguments joined by blanks and split again as a shell does, without expanding anything.

    Raises `UnsplittableError`.
    """
    try:
        return tuple(shlex.split(" ".join(arguments)))
    except ValueError as error:
        reason = str(error).rstrip(".").lower()
        raise UnsplittableError(
            f"its arguments cannot be split as split_arguments wants it: {reason}"
        ) from error


def warm_of(script: Script, policy: Policy) -> Warm | None:
    """What attempts of a script may be forks of; None: each is a process of its own."""
    if policy.runner is not RunnerName.WARM or not script.command:
        return None
    return Warm(command=script.command, script=script.path, preload=policy.preload)


def warm_ahead(
    scripts: Iterable[Script], daemon: Mapping[str, str]
) -> Iterator[tuple[Warm, dict[str, str]]]:
    """What is to be kept ready for these scripts, with the environment; `daemon`: its own."""
    for script in scripts:
        warm = warm_of(script, script.policy)
        if script.ready and warm is not None:
            yield warm, lasting(script.policy, daemon)
