"""Labels come from closed sets, whatever comes from outside."""

from __future__ import annotations

import pytest

from mediator.metrics.labels import ScriptNames, event_label


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
