"""Whether the promise was kept: everything that a history must not hold, each a sentence.

`complaints(history)` is empty when all is well. The rules are plain functions, so that a test can
show each of them a history that breaks it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from tests.faults.history import Handed, History, Kept, Line, Tried

MOST_LOSSES = 10
"""Deaths of mediators while it ran after which a delivery is given up (`storage/leases.py`)."""
_ENDED = frozenset({"succeeded", "dead"})
Rule = Callable[[History], Iterable[str]]


def complaints(history: History) -> list[str]:
    """What is wrong, one sentence each."""
    return [sentence for rule in RULES for sentence in rule(history)]


def nothing_is_lost(history: History) -> Iterator[str]:
    """What the caller heard to be accepted is kept, once, and under the id that was told."""
    names = Counter(one.name for one in history.kept)
    by_name = {one.name: one for one in history.kept}
    for handed in history.handed:
        if names[handed.name] > 1:
            yield f"{handed.name}: one hand-over became {names[handed.name]} deliveries"
        if handed.accepted and handed.name not in by_name:
            yield f"{handed.name}: accepted, and lost"
        elif handed.delivery is not None and by_name[handed.name].id != handed.delivery:
            yield f"{handed.name}: kept under another id than the caller was told"


def everything_ends_as_its_script_says(history: History) -> Iterator[str]:
    """A trigger succeeds, or is dead for a reason of its policy; a call that was answered is ok."""
    answered = {one.name for one in history.handed if one.accepted and one.work.interactive}
    for kept in history.kept:
        interactive = history.works[kept.script].interactive
        if interactive and kept.name not in answered:
            if kept.state not in {*_ENDED, "cancelled"}:
                yield f"{_of(kept)} is still {kept.state}"
        elif interactive and kept.state != "succeeded":
            yield f"{_of(kept)} was answered with success and is {kept.state}"
        elif kept.state not in _ENDED:
            yield f"{_of(kept)} is {kept.state}"
        elif kept.state == "dead" and not _may_be_dead(history, kept):
            yield f"{_of(kept)} is dead, although its policy allows more attempts"


def _may_be_dead(history: History, kept: Kept) -> bool:
    allowed = history.works[kept.script].attempts
    return kept.charged >= allowed or kept.losses >= MOST_LOSSES


def attempts_are_right(history: History) -> Iterator[str]:
    """Numbered without a gap, each with the outcome of its number, and none too many."""
    for kept in history.kept:
        work = history.works[kept.script]
        if [one.number for one in kept.tried] != list(range(1, len(kept.tried) + 1)):
            yield f"{_of(kept)}: its attempts are numbered {[one.number for one in kept.tried]}"
        if kept.charged > work.attempts:
            yield f"{_of(kept)} was charged {kept.charged} attempts of {work.attempts}"
        if (kept.state == "succeeded") != _ends_with_ok(kept):
            yield f"{_of(kept)} is {kept.state} after {_outcomes(kept)}"
        for one in kept.tried:
            if not (one.cut or not one.started or one.exit_code == work.exit_code(one.number)):
                yield (
                    f"{_of(kept)}, attempt {one.number}: {one.outcome}, exit code"
                    f" {one.exit_code} ({one.reason}), which its script does not do"
                )


def _ends_with_ok(kept: Kept) -> bool:
    outcomes = _outcomes(kept)
    return outcomes.count("ok") == 1 and outcomes[-1] == "ok"


def _outcomes(kept: Kept) -> list[str | None]:
    return [one.outcome for one in kept.tried]


def every_effect_is_there(history: History) -> Iterator[str]:
    """An attempt with a known end has begun and ended its work once, with its ticket."""
    bodies = {one.name: one.sha256 for one in history.handed}
    written = Counter((line.word, *line.attempt) for line in history.lines)
    for kept in history.kept:
        for one in kept.tried:
            for word in ("begin", "end"):
                count = written[word, kept.id, one.number]
                if not _right_count(one, count):
                    yield (
                        f"{_of(kept)}, attempt {one.number} ({one.outcome}):"
                        f" {count} lines say {word!r}"
                    )
    for line in history.lines:
        found = history.by_id.get(line.delivery)
        if found is not None and line.sha256 != bodies.get(found.name):
            yield f"{_of(found)}, attempt {line.number} was not given its ticket"


def _right_count(one: Tried, count: int) -> bool:
    if not one.started:
        return count == 0
    return count <= 1 if one.cut else count == 1


def nothing_runs_without_a_record(history: History) -> Iterator[str]:
    """Every line is that of an attempt that the store knows: no duplicate but of one that was cut.

    With the rule before: what is there twice is there by two attempts, and all but one were cut,
    or had failed.
    """
    known = {(kept.id, one.number) for kept in history.kept for one in kept.tried}
    for delivery, number in {line.attempt for line in history.lines} - known:
        yield f"{delivery}, attempt {number}: it ran, and the store knows nothing of it"
    for raw in history.damaged:
        yield f"a line of the effects is damaged: {raw[:100]!r}"


def tickets_are_in_order(history: History) -> Iterator[str]:
    """Of an ordered script one ticket's deliveries begin in the order of arrival, never mixed."""
    places = {kept.id: place for place, kept in enumerate(history.kept)}
    latest: dict[tuple[str, str | None], Kept] = {}
    for line in history.lines:
        kept = history.by_id.get(line.delivery)
        if kept is None or not _is_ordered(history, kept, line):
            continue
        before = latest.get((kept.script, kept.ticket))
        if before is not None and places[before.id] > places[kept.id]:
            yield f"{_of(kept)}, attempt {line.number} began after {before.name}, which came later"
        else:
            latest[kept.script, kept.ticket] = kept


def _is_ordered(history: History, kept: Kept, line: Line) -> bool:
    if line.word != "begin" or not history.works[kept.script].ordered:
        return False
    cut = any(one.cut for one in kept.tried if one.number == line.number)
    return not (cut and history.shared)


def _of(kept: Kept) -> str:
    return f"{kept.name} ({kept.script}, {kept.id})"


RULES: tuple[Rule, ...] = (
    nothing_is_lost,
    everything_ends_as_its_script_says,
    attempts_are_right,
    every_effect_is_there,
    nothing_runs_without_a_record,
    tickets_are_in_order,
)


def cut_attempts(history: History) -> list[Tried]:
    """Those that ended in the dark."""
    return [one for kept in history.kept for one in kept.tried if one.cut]


def run_twice(history: History, handed: Iterable[Handed]) -> int:
    """Of these, the deliveries with a whole effect by an attempt that was cut."""
    names = {one.name for one in handed}
    whole = {line.attempt for line in history.lines if line.word == "end"}
    return sum(
        any(one.cut and (kept.id, one.number) in whole for one in kept.tried)
        for kept in history.kept
        if kept.name in names
    )
