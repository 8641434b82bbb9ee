"""What is counted of deliveries is shown by closed sets, by nothing that could grow without end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mediator.errors import MediatorError
from mediator.metrics import Metrics
from mediator.metrics.deliveries import REFUSALS, code_class
from mediator.model.delivery import Census, Ended, Outcome, State, Waiting
from mediator.model.policy import StatedPolicy, resolve
from mediator.settings.schema import Settings

NOW = datetime(2024, 2, 29, 12, tzinfo=UTC)


def waiting(script: str, pending: int, *, late: float = 0.0, interactive: bool = False) -> Waiting:
    return Waiting(
        calls=(script, interactive),
        pending=pending,
        retrying=1,
        first_due=NOW - timedelta(seconds=late),
    )


def census(*groups: Waiting, dead: dict[tuple[str, bool], int] | None = None) -> Census:
    return Census(
        waiting=groups,
        oldest_pending=NOW - timedelta(hours=1) if groups else None,
        running={},
        dead=dead or {},
        ended={State.DEAD: sum((dead or {}).values())},
    )


def shown(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    families = {family.name: family for family in metrics.registry.collect()}
    return {tuple(s.labels.values()): s.value for s in families[name].samples}


def metrics_of(*scripts: str) -> Metrics:
    metrics = Metrics()
    metrics.know(dict.fromkeys(scripts, False))
    return metrics


def test_scripts_that_are_gone_are_counted_together() -> None:
    metrics = metrics_of("a.py")
    groups = [waiting("a.py", 2), waiting("old.py", 3, late=5), waiting("older.py", 4, late=9)]
    metrics.backlog.show(census(*groups, dead={("old.py", False): 7}), now=NOW)
    assert shown(metrics, "mediator_script_deliveries_pending") == {
        ("a.py", "trigger"): 2,
        ("other", "trigger"): 7,
    }
    assert shown(metrics, "mediator_script_deliveries_dead")["other", "trigger"] == 7
    assert shown(metrics, "mediator_script_oldest_due_age_seconds") == {
        ("a.py", "trigger"): 0,
        ("other", "trigger"): 9,
    }


def test_a_script_of_which_nothing_waits_has_nought_and_does_not_vanish() -> None:
    metrics = metrics_of("a.py")
    metrics.backlog.show(census(waiting("a.py", 2, late=60)), now=NOW)
    assert shown(metrics, "mediator_script_oldest_due_age_seconds") == {("a.py", "trigger"): 60}
    metrics.backlog.show(census(), now=NOW)
    assert shown(metrics, "mediator_script_deliveries_pending") == {("a.py", "trigger"): 0}
    assert shown(metrics, "mediator_script_oldest_due_age_seconds") == {("a.py", "trigger"): 0}
    assert shown(metrics, "mediator_oldest_pending_age_seconds") == {(): 0}


def test_what_is_due_later_is_not_late() -> None:
    metrics = metrics_of("a.py")
    metrics.backlog.show(census(waiting("a.py", 1, late=-30)), now=NOW)
    assert shown(metrics, "mediator_script_oldest_due_age_seconds") == {("a.py", "trigger"): 0}
    assert shown(metrics, "mediator_oldest_pending_age_seconds") == {(): 3600}


def test_all_states_are_there_whatever_the_store_holds() -> None:
    metrics = metrics_of()
    metrics.backlog.show(census(), now=NOW)
    assert shown(metrics, "mediator_deliveries") == {(str(state),): 0 for state in State}


@pytest.mark.parametrize(
    ("code", "give_up_on", "word"),
    [
        (0, [64], "0"),
        (75, [64], "75"),
        (75, [75], "give_up"),
        (64, [64], "give_up"),
        (1, [64], "other"),
        (None, [64], "none"),
    ],
)
def test_an_exit_code_is_known_by_what_it_means(
    code: int | None, give_up_on: list[int], word: str
) -> None:
    policy = resolve(
        Settings().policy_defaults, StatedPolicy.model_validate({"give_up_on": give_up_on})
    )
    assert code_class(Ended(outcome=Outcome.FAILED, exit_code=code), policy) == word


def test_every_error_that_a_hand_over_can_meet_has_a_word_of_its_own() -> None:
    words = [error.word for error in REFUSALS]
    assert len(words) == len(set(words))
    assert MediatorError.word not in words
