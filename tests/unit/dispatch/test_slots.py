"""How many attempts may start."""

from __future__ import annotations

from mediator.dispatch.slots import Slots, ordered
from tests.unit.dispatch.support import script


def test_slots_of_the_two_kinds_are_counted_apart() -> None:
    slots = Slots(trigger=2, interactive=1)
    slots.take("a.py", interactive=False)
    slots.take("a.py", interactive=True)
    assert (slots.free(interactive=False), slots.free(interactive=True)) == (1, 0)
    assert (slots.running(interactive=False), slots.running(interactive=True)) == (1, 1)
    assert slots.busy == 2
    slots.release("a.py", interactive=True)
    assert (slots.free(interactive=True), slots.busy) == (1, 1)


def test_a_script_has_the_room_its_policy_gives_it() -> None:
    slots = Slots(trigger=8, interactive=4)
    scripts = {
        "one.py": script("one.py", concurrency=1),
        "three.py": script("three.py", concurrency=3),
        "any.py": script("any.py"),
        "broken.py": script("broken.py", problem="no shebang"),
    }
    assert slots.room(scripts) == {"one.py": 1, "three.py": 3, "any.py": 12}
    slots.take("one.py", interactive=False)
    slots.take("three.py", interactive=True)
    assert slots.room(scripts) == {"three.py": 2, "any.py": 12}
    slots.release("one.py", interactive=False)
    assert slots.room(scripts)["one.py"] == 1


def test_a_limit_lowered_below_what_runs_leaves_no_room() -> None:
    slots = Slots(trigger=8, interactive=4)
    for _ in range(3):
        slots.take("a.py", interactive=False)
    assert slots.room({"a.py": script(concurrency=2)}) == {}


def test_an_attempt_fits_by_slot_and_by_room() -> None:
    slots = Slots(trigger=1, interactive=2)
    single = script(concurrency=1)
    assert slots.fits(single, interactive=False)
    slots.take("b.py", interactive=False)
    assert not slots.fits(single, interactive=False), "no slot"
    assert slots.fits(single, interactive=True)
    slots.take("a.py", interactive=True)
    assert not slots.fits(single, interactive=True), "no room"
    assert not slots.fits(script("c.py", problem="broken"), interactive=True)


def test_only_scripts_that_ask_for_it_are_ordered() -> None:
    scripts = {"a.py": script(order="ticket"), "b.py": script("b.py")}
    assert ordered(scripts) == {"a.py"}
