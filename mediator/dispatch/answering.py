"""Whether what an interactive script printed can be passed on as its answer."""

from __future__ import annotations

from dataclasses import replace

from mediator.model.answers import problem_of_answer
from mediator.model.attempts import Ended, Outcome
from mediator.model.policies import Policy


def checked(ended: Ended, policy: Policy) -> Ended:
    """The same end, or `bad_answer` with the reason when SecureChange could not use the answer.

    An exit code other than 0 is an answer by itself and is not looked at further.
    """
    if ended.outcome is not Outcome.OK:
        return ended
    stdout = ended.stdout
    if stdout.truncated:
        problem = (
            f"it printed {stdout.size} bytes, more than limits.output of its policy allows,"
            " and a cut answer would be a wrong one"
        )
    else:
        problem = problem_of_answer(stdout.kept, roots=policy.answer)
    return replace(ended, outcome=Outcome.BAD_ANSWER, reason=problem) if problem else ended
