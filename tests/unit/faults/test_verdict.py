"""The verdict on faults finds what is wrong: each rule is shown a history that breaks it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.faults.counts import Counted, disagreements
from tests.faults.history import Handed, History, Kept, Line, Tried, Work, read_lines
from tests.faults.verdict import complaints, run_twice

ONCE = Work(name="once.sh")
AGAIN = Work(name="again.sh", fails=2, attempts=4)
HOPELESS = Work(name="hopeless.sh", fails=9, attempts=3)
ORDERED = Work(name="ordered.sh", ordered=True)
ASK = Work(name="ask.sh", interactive=True)
WORKS = {work.name: work for work in (ONCE, AGAIN, HOPELESS, ORDERED, ASK)}
STOPPED = "the mediator stopped while this attempt ran; how it ended is unknown"
LOST = Tried(number=1, outcome="lost", reason=STOPPED)
OUTCOMES = {0: "ok", 1: "failed"}


def ended(number: int, code: int = 0) -> Tried:
    return Tried(number=number, outcome=OUTCOMES[code], exit_code=code)


class Story:
    """A history in the making."""

    def __init__(self, *, shared: bool = False) -> None:
        self.handed: list[Handed] = []
        self.kept: list[Kept] = []
        self.lines: list[Line] = []
        self.shared = shared

    def delivery(
        self, work: Work, *tried: Tried, state: str = "succeeded", accepted: bool = True
    ) -> Kept:
        """Handed over, kept, and run as the attempts say; those that were cut wrote nothing."""
        name = f"{work.name}-{len(self.handed)}"
        handed = Handed(
            name=name, work=work, ticket="1", body=name.encode(), phase="", accepted=accepted
        )
        kept = Kept(
            id=f"id-{name}", script=work.name, ticket="1", name=name, state=state, tried=tried
        )
        self.handed.append(handed)
        self.kept.append(kept)
        for one in tried:
            if not one.cut:
                self.run(kept, one.number)
        return kept

    def run(self, kept: Kept, number: int, *words: str) -> None:
        sha256 = next(one.sha256 for one in self.handed if one.name == kept.name)
        for word in words or ("begin", "end"):
            self.lines.append(Line(word=word, delivery=kept.id, number=number, sha256=sha256))

    def history(self) -> History:
        return History(
            works=WORKS,
            handed=tuple(self.handed),
            kept=tuple(self.kept),
            lines=tuple(self.lines),
            shared=self.shared,
        )


@pytest.fixture
def story() -> Story:
    return Story()


def wrong(story: Story) -> str:
    """The only complaint."""
    (sentence,) = complaints(story.history())
    return sentence


def test_a_history_in_which_all_is_well_is_not_complained_about(story: Story) -> None:
    story.delivery(ONCE, ended(1))
    story.delivery(AGAIN, ended(1, 1), ended(2, 1), ended(3))
    story.delivery(HOPELESS, ended(1, 1), ended(2, 1), ended(3, 1), state="dead")
    story.delivery(ONCE, LOST, ended(2))
    story.delivery(ASK, ended(1))
    story.delivery(ASK, state="cancelled", accepted=False)
    assert complaints(story.history()) == []


class TestLost:
    def test_what_was_accepted_and_is_not_kept(self, story: Story) -> None:
        kept = story.delivery(ONCE, ended(1))
        story.kept.remove(kept)
        story.lines.clear()
        assert wrong(story) == "once.sh-0: accepted, and lost"

    def test_what_was_not_accepted_may_be_missing(self, story: Story) -> None:
        story.kept.remove(story.delivery(ONCE, accepted=False))
        assert complaints(story.history()) == []

    def test_one_hand_over_that_became_two(self, story: Story) -> None:
        kept = story.delivery(ONCE, ended(1))
        twin = replace(kept, id="twin")
        story.kept.append(twin)
        story.run(twin, 1)
        assert "became 2 deliveries" in wrong(story)

    def test_another_id_than_the_caller_was_told(self, story: Story) -> None:
        story.delivery(ONCE, ended(1))
        story.handed[0].delivery = "another"
        assert "under another id" in wrong(story)


class TestEnded:
    @pytest.mark.parametrize("state", ["pending", "running", "cancelled"])
    def test_a_trigger_that_has_not_ended(self, story: Story, state: str) -> None:
        story.delivery(ONCE, LOST, state=state)
        assert f"is {state}" in wrong(story)

    def test_dead_before_its_attempts_are_used(self, story: Story) -> None:
        story.delivery(HOPELESS, ended(1, 1), ended(2, 1), state="dead")
        assert "its policy allows more attempts" in wrong(story)

    def test_what_mediators_deaths_cut_costs_no_attempt(self, story: Story) -> None:
        lost = replace(LOST, number=2)
        tried = (ended(1, 1), lost, ended(3, 1))
        story.delivery(HOPELESS, *tried, state="dead")
        assert "its policy allows more attempts" in wrong(story)

    def test_what_supervisors_deaths_cut_costs_one(self, story: Story) -> None:
        lost = Tried(number=2, outcome="lost", reason="its supervising process was killed")
        story.delivery(HOPELESS, ended(1, 1), lost, ended(3, 1), state="dead")
        assert complaints(story.history()) == []

    def test_more_deaths_than_are_borne(self, story: Story) -> None:
        lost = [replace(LOST, number=n) for n in range(1, 11)]
        story.delivery(ONCE, *lost, state="dead")
        assert complaints(story.history()) == []

    def test_an_answer_that_was_given_and_is_not_kept_as_such(self, story: Story) -> None:
        story.delivery(ASK, state="cancelled")
        assert "was answered with success and is cancelled" in wrong(story)

    def test_a_call_that_nobody_heard_the_answer_of_and_that_still_waits(
        self, story: Story
    ) -> None:
        story.delivery(ASK, state="pending", accepted=False)
        assert "is still pending" in wrong(story)


class TestAttempts:
    def test_one_too_many(self, story: Story) -> None:
        tried = [ended(number, 1) for number in range(1, 5)]
        story.delivery(HOPELESS, *tried, state="dead")
        assert "was charged 4 attempts of 3" in wrong(story)

    def test_a_gap(self, story: Story) -> None:
        story.delivery(ONCE, LOST, ended(3))
        assert "numbered [1, 3]" in wrong(story)

    def test_an_attempt_after_it_succeeded(self, story: Story) -> None:
        story.delivery(ONCE, ended(1), ended(2))
        assert "after ['ok', 'ok']" in wrong(story)

    def test_an_end_that_its_script_does_not_have(self, story: Story) -> None:
        story.delivery(AGAIN, ended(1, 1), ended(2))
        assert "which its script does not do" in wrong(story)


class TestEffects:
    def test_none(self, story: Story) -> None:
        story.delivery(ONCE, ended(1))
        story.lines.clear()
        assert complaints(story.history()) == [
            "once.sh-0 (once.sh, id-once.sh-0), attempt 1 (ok): 0 lines say 'begin'",
            "once.sh-0 (once.sh, id-once.sh-0), attempt 1 (ok): 0 lines say 'end'",
        ]

    def test_twice_without_a_cut(self, story: Story) -> None:
        kept = story.delivery(ONCE, ended(1))
        story.run(kept, 1, "end")
        assert "2 lines say 'end'" in wrong(story)

    def test_twice_where_an_attempt_was_cut_at_its_end(self, story: Story) -> None:
        kept = story.delivery(ONCE, LOST, ended(2))
        story.run(kept, 1)
        assert complaints(story.history()) == []
        assert run_twice(story.history(), story.handed) == 1

    def test_an_attempt_that_was_cut_and_ran_twice(self, story: Story) -> None:
        kept = story.delivery(ONCE, LOST, ended(2))
        story.run(kept, 1, "begin", "begin")
        assert "2 lines say 'begin'" in wrong(story)

    def test_without_a_record(self, story: Story) -> None:
        kept = story.delivery(ONCE, ended(1))
        story.run(kept, 2)
        assert wrong(story).endswith("attempt 2: it ran, and the store knows nothing of it")

    def test_with_another_ticket(self, story: Story) -> None:
        story.delivery(ONCE, ended(1))
        story.lines[0] = replace(story.lines[0], sha256="of something else")
        assert "was not given its ticket" in wrong(story)

    def test_of_what_was_never_started(self, story: Story) -> None:
        kept = story.delivery(ONCE, LOST, ended(2))
        story.kept[0] = replace(kept, tried=(Tried(number=1, outcome="not_started"), ended(2)))
        assert complaints(story.history()) == []
        story.run(kept, 1, "begin")
        assert "1 lines say 'begin'" in wrong(story)

    def test_a_damaged_line(self) -> None:
        lines, damaged = read_lines("begin id 1 sum check\n")
        assert (lines, damaged) == ((), ("begin id 1 sum check",))


class TestOrder:
    def test_one_that_came_later_begins_first(self, story: Story) -> None:
        story.delivery(ORDERED, ended(1))
        story.delivery(ORDERED, ended(1))
        assert complaints(story.history()) == []
        story.lines.reverse()
        assert "began after ordered.sh-1, which came later" in wrong(story)

    def test_another_tickets_may(self, story: Story) -> None:
        story.delivery(ORDERED, ended(1))
        other = story.delivery(ORDERED, ended(1))
        story.kept[1] = replace(other, ticket="2")
        story.lines.reverse()
        assert complaints(story.history()) == []

    @pytest.mark.parametrize("shared", [True, False])
    def test_an_attempt_that_was_cut_only_where_another_mediator_took_over(
        self, *, shared: bool
    ) -> None:
        story = Story(shared=shared)
        first = story.delivery(ORDERED, LOST, ended(2))
        story.delivery(ORDERED, ended(1))
        story.run(first, 1, "begin")  # its mediator stood still before it began
        assert len(complaints(story.history())) == (0 if shared else 1)


class TestCounts:
    COUNTED = Counted(
        accepted=2, ended={"succeeded": 1, "dead": 1}, gauges=({"pending": 0, "dead": 1},)
    )

    @pytest.fixture
    def kept(self, story: Story) -> list[Kept]:
        story.delivery(ONCE, ended(1))
        story.delivery(HOPELESS, *(ended(n, 1) for n in (1, 2, 3)), state="dead")
        return story.kept

    def found(self, counted: Counted, kept: list[Kept]) -> list[str]:
        return list(disagreements(counted, before=(), after=kept))

    def test_that_agree(self, kept: list[Kept]) -> None:
        assert self.found(self.COUNTED, kept) == []

    def test_of_what_came_in(self, kept: list[Kept]) -> None:
        assert self.found(replace(self.COUNTED, accepted=3), kept) == [
            "3 new deliveries were counted; the store has 2 more"
        ]

    def test_of_what_ended(self, kept: list[Kept]) -> None:
        assert self.found(replace(self.COUNTED, ended={"succeeded": 1}), kept) == [
            "0 dead were counted; the store has 1"
        ]

    def test_of_what_is_there(self, kept: list[Kept]) -> None:
        gauges = ({"pending": 4, "dead": 1},)
        assert self.found(replace(self.COUNTED, gauges=gauges), kept) == [
            "mediator 1 says 4 pending; the store keeps 0"
        ]

    def test_since_a_moment(self, kept: list[Kept]) -> None:
        counted = replace(self.COUNTED, accepted=1, ended={"dead": 1})
        assert list(disagreements(counted, before=kept[:1], after=kept)) == []
