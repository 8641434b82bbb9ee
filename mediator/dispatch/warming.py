"""What of a script can be got ready before its deliveries come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from mediator.catalog.scripts import Script
from mediator.dispatch.environment import lasting
from mediator.model.policies import Policy, RunnerName
from mediator.runners.port import Warm


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
