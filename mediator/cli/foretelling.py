"""What the mediator would do after an attempt that was made in the foreground, and in words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mediator.cli.failures import FAILED
from mediator.cli.foreground import Made
from mediator.dispatch.verdicts import judge
from mediator.model.answers import problem_of_answer
from mediator.model.attempts import Outcome
from mediator.model.deliveries import Delivery, State, Verdict
from mediator.model.policies import Policy

_SIGNAL = 128
"""Added to a signal's number, as shells do."""
_CANNOT_EXECUTE = 126
"""What shells say of a command that is there and cannot be executed."""
_SIGTERM = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class Foretold:
    """An attempt, and what would follow it."""

    made: Made
    verdict: Verdict
    follows: str
    """what the mediator would do next, as the end of a sentence"""

    @property
    def exit_code(self) -> int:
        """The script's own, or what a shell would say; 0 only when the attempt was a success."""
        ended = self.made.ended
        if self.made.stopped_by is not None and ended.outcome is Outcome.CANCELLED:
            return _SIGNAL + self.made.stopped_by
        if ended.outcome is Outcome.NOT_STARTED:
            return _CANNOT_EXECUTE
        if ended.signal is not None:
            return _SIGNAL + ended.signal
        if ended.outcome is Outcome.TIMEOUT:
            return ended.exit_code or _SIGNAL + _SIGTERM
        return FAILED if ended.exit_code is None else ended.exit_code

    @property
    def sentence(self) -> str:
        """How it ended, how long it took, and what would follow."""
        ended = self.made.ended
        parts = [f"{ended.outcome}, exit code {self.exit_code}, {self.made.seconds:.2f} s"]
        if ended.outcome is not Outcome.FAILED and ended.reason:
            parts.append(ended.reason)
        if ended.leftovers:
            parts.append(f"{ended.leftovers} processes that it left behind were killed")
        return f"{', '.join(parts)}; {self.follows}"


def foretell(made: Made, delivery: Delivery, policy: Policy, *, now: datetime) -> Foretold:
    """Judge the attempt as the dispatcher would."""
    verdict = judge(made.ended, delivery, policy, now=now)
    if made.ended.outcome is Outcome.CANCELLED:
        follows = "you stopped it"
    elif delivery.interactive:
        follows = _answered(made, policy)
    else:
        follows = _next(verdict, delivery, policy) + _cut(made, policy)
    return Foretold(made=made, verdict=verdict, follows=follows)


def _next(verdict: Verdict, delivery: Delivery, policy: Policy) -> str:
    if verdict.state is State.SUCCEEDED:
        return "the mediator would be done"
    if verdict.due is not None:
        time = verdict.due.astimezone().strftime("%H:%M:%S")
        number = f"attempt {delivery.attempts_made + 1} of {policy.retry.attempts}"
        return f"the mediator would try again at about {time}, as {number}"
    return f"the mediator would give up, and the delivery be dead: {verdict.error}"


def _answered(made: Made, policy: Policy) -> str:
    ended = made.ended
    if ended.outcome is Outcome.TIMEOUT:
        return "SecureChange would hear that it ran out of time"
    if ended.outcome in {Outcome.NOT_STARTED, Outcome.LOST}:
        return "SecureChange would hear that it could not be run"
    if ended.stdout.size > policy.limits.output:
        return (
            f"SecureChange would get no answer: it printed {ended.stdout.size} bytes, more than the"
            f" {policy.limits.output} of limits.output in its policy"
        )
    problem = problem_of_answer(ended.stdout.kept, roots=policy.answer)
    if problem and ended.outcome is Outcome.OK:
        return f"SecureChange could not use the answer: {problem}"
    return "SecureChange would get this answer"


def _cut(made: Made, policy: Policy) -> str:
    largest = max(made.ended.stdout.size, made.ended.stderr.size)
    if largest <= policy.limits.output:
        return ""
    return f"; of its output the mediator keeps {policy.limits.output} bytes (limits.output)"
