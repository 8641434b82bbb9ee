"""Labels come from closed sets, whatever comes from outside."""

from __future__ import annotations

import pytest

from mediator.errors import MediatorError
from mediator.metrics.deliveries import REFUSALS, code_class
from mediator.metrics.labels import ScriptNames, event_label
from mediator.model.delivery import Ended, Outcome
from mediator.model.policy import StatedPolicy, resolve
from mediator.settings.schema import Settings


@pytest.mark.parametrize(
    ("event", "label"), [("ADVANCE", "ADVANCE"), ("", "none"), ("EVIL_1", "other")]
)
def test_an_event_is_a_word_of_securechange_or_other(event: str, label: str) -> None:
    assert event_label(event) == label


def test_a_script_is_of_the_catalog_or_other() -> None:
    names = ScriptNames()
    assert names.label("a.py") == "a.py", "nothing is known yet"
    names.know({"a.py": False})
    assert [names.label("a.py"), names.label("gone.py")] == ["a.py", "other"]


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
