"""What `mediator shim push` and `verify` say of pods, and their exit codes."""

from __future__ import annotations

import pytest

from mediator.cli.shim import document, exit_code, lines
from mediator.keeper.pods import SecureChangePod
from mediator.keeper.protocol import Difference, Drift, PodFile
from mediator.keeper.sync import Report, SelfTest
from mediator.kube.exec import PodContainer

POD = SecureChangePod(
    place=PodContainer(pod="sc-1", container="server"),
    uid="u",
    container_id="c",
    why_not="",
)
GONE = Difference(
    file=PodFile(name="notify.sh", data=b"", mode=0o755), drift=Drift.MISSING, words="is missing"
)
GOOD = SelfTest(code=0, lines=("http://m: reachable",))
BAD = SelfTest(code=75, lines=("http://m: not reachable",))


@pytest.mark.parametrize(
    ("report", "code", "said"),
    [
        pytest.param(
            Report(pod=POD, self_test=GOOD),
            0,
            ["sc-1: all files are as they should be", "sc-1: self-test: http://m: reachable"],
            id="all well",
        ),
        pytest.param(
            Report(pod=POD, differences=(GONE,)), 1, ["sc-1: notify.sh is missing"], id="drift"
        ),
        pytest.param(
            Report(pod=POD, differences=(GONE,), written=True, self_test=GOOD),
            0,
            ["sc-1: notify.sh is missing: written", "sc-1: self-test: http://m: reachable"],
            id="put right",
        ),
        pytest.param(
            Report(pod=POD, differences=(GONE,), problem="no room"),
            1,
            ["sc-1: notify.sh is missing", "sc-1: no room"],
            id="not put right",
        ),
        pytest.param(Report(pod=POD, problem="hangs"), 75, ["sc-1: hangs"], id="not known"),
        pytest.param(
            Report(pod=POD, self_test=BAD),
            75,
            [
                "sc-1: all files are as they should be",
                "sc-1: self-test: http://m: not reachable",
                "sc-1: the self-test failed with exit code 75",
            ],
            id="mediator not reachable",
        ),
    ],
)
def test_a_report_is_told_and_counts(report: Report, code: int, said: list[str]) -> None:
    assert list(lines(report)) == said
    assert exit_code([report]) == code


def test_the_worst_pod_decides_and_drift_is_worse_than_not_knowing() -> None:
    well, drifted = Report(pod=POD, self_test=GOOD), Report(pod=POD, differences=(GONE,))
    unknown = Report(pod=POD, problem="hangs")
    assert exit_code([well, unknown]) == 75
    assert exit_code([unknown, drifted, well]) == 1


def test_a_program_gets_the_same() -> None:
    made = document(Report(pod=POD, differences=(GONE,), written=True, self_test=GOOD))
    assert made == {
        "pod": "sc-1",
        "container": "server",
        "files": [{"name": "notify.sh", "drift": "missing", "written": True}],
        "problem": None,
        "self_test": {"exit_code": 0, "lines": ("http://m: reachable",)},
    }
