"""What attempts may be forks of, and what is got ready ahead for them."""

from __future__ import annotations

from dataclasses import replace

from mediator.dispatch.environment import environment, warm_ahead, warm_of
from mediator.runners.port import Warm
from tests.unit.dispatch.support import DIRECTORY, delivery, policy, script

PYTHON = ("python3", "-u")
WARM = replace(script(runner="warm", preload=["a", "b.c"]), python=PYTHON)


def test_a_warm_python_script_is_a_fork_of_what_its_first_line_names() -> None:
    assert warm_of(WARM, WARM.policy) == Warm(
        command=PYTHON, script=DIRECTORY / "a.py", preload=("a", "b.c")
    )


def test_an_environment_of_its_own_wins_over_its_first_line() -> None:
    warm = warm_of(replace(WARM, interpreter=("/env/bin/python",)), WARM.policy)
    assert warm is not None
    assert warm.command == ("/env/bin/python",)


def test_other_scripts_are_no_forks() -> None:
    assert warm_of(replace(WARM, python=()), WARM.policy) is None
    assert warm_of(WARM, policy()) is None


def test_only_ready_warm_scripts_are_got_ready_ahead() -> None:
    broken = replace(WARM, problem="it is broken.")
    others = [broken, script(), replace(WARM, python=())]
    assert list(warm_ahead(others, {})) == []
    assert len(list(warm_ahead([*others, WARM], {}))) == 1


def test_what_is_got_ready_ahead_has_the_environment_of_the_attempts() -> None:
    daemon = {"PATH": "/bin", "PROXY": "p", "SECRET": "s"}
    warm = replace(WARM, policy=policy(runner="warm", env={"A": "1"}, pass_env=["PROXY"]))
    ((_, ahead),) = warm_ahead([warm], daemon)
    given = delivery(variables={"SCW_EVENT": "CREATE"})
    whole = environment(given, warm.policy, number=1, daemon=daemon)
    assert ahead == {
        name: value for name, value in whole.items() if not name.startswith(("SCW_", "MEDIATOR_"))
    }
