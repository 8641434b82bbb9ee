"""How the code is cut: modules, their sizes, and how many of them run for one delivery.

    python -m tests.benchmarks.modules

A delivery is followed in the daemon by the interpreter's profiler, from the hand-over until its end
is recorded. What is counted is a module in which a function was called, whichever thread called it.
"""

from __future__ import annotations

import os
import signal
import statistics
import sys
import tempfile
from pathlib import Path

from tests.support.conditions import eventually_true
from tests.support.mediator import REPOSITORY, Handover, Mediator
from tests.support.scripts import OK

PROFILER = """
import os, signal, sys, threading

seen = set()
watching = False

def profile(frame, event, argument):
    if watching and event == "call" and frame.f_code.co_name != "<module>":
        seen.add(frame.f_code.co_filename)

def turn(number, frame):
    global watching
    watching = not watching
    if not watching:
        with open(os.environ["SEEN"] + ".part", "w") as file:
            file.write("\\n".join(sorted(seen)))
        os.rename(file.name, os.environ["SEEN"])

if "SEEN" in os.environ:
    signal.signal(signal.SIGUSR2, turn)
    threading.setprofile(profile)
    sys.setprofile(profile)
"""
"""Imported by an interpreter as it starts; SIGUSR2 turns it on, and off."""


def main() -> None:
    """Measure and print."""
    package = REPOSITORY / "mediator"
    sizes = [len(path.read_text().splitlines()) for path in package.rglob("*.py")]
    sys.stdout.write(
        f"modules {len(sizes)}, lines {sum(sizes)}, median {statistics.median(sizes):g},"
        f" largest {max(sizes)}\n"
    )
    with tempfile.TemporaryDirectory() as home:
        ran = modules_of_one_delivery(Path(home))
    ours = sorted(path.removeprefix(f"{REPOSITORY}/") for path in ran if str(package) in path)
    sys.stdout.write(f"modules that run for one delivery: {len(ours)}\n")
    sys.stdout.writelines(f"  {path}\n" for path in ours)


def modules_of_one_delivery(home: Path) -> set[str]:
    """The files in which the daemon called a function for one delivery."""
    (home / "sitecustomize.py").write_text(PROFILER)
    seen = home / "seen"
    path = os.pathsep.join([str(home), str(REPOSITORY)])
    mediator = Mediator(home / "mediator", environment={"PYTHONPATH": path, "SEEN": str(seen)})
    mediator.script("note.sh", OK)
    with mediator:
        os.kill(mediator.pid, signal.SIGUSR2)
        mediator.hand_over(Handover(script="note.sh"))
        eventually_true(lambda: mediator.events("delivery ended"))  # to ask would be to run more
        os.kill(mediator.pid, signal.SIGUSR2)
        eventually_true(seen.exists)
    return set(seen.read_text().splitlines())


if __name__ == "__main__":
    main()
