"""How long deliveries wait with 1, 3 or 30 mediators on one PostgreSQL, and what breaks first.

    python -m tests.benchmarks.simulate [--mediators 1 3 30] [--rates 10 100 1000 10000 100000]
                                        [--scripts fast warm cold slow mixed] [--slots 8]
                                        [--cores 2] [--database-cores 4] [--round-trip 0.3]
                                        [--flush MS] [--times FILE] [--seed 1]
                                        [--only grid trouble]

Simulates, event by event, what `docs/explanation/scaling.md` describes, with the service times that
`tests.benchmarks.service_times` measured, or those of `--times`. First a table of rates (events a
minute) for each kind of script, then troubles: a burst, slow scripts beside quick ones, scripts
that fail, a mediator that dies. Seeds are fixed: the same arguments print the same figures. Delays
are those of deliveries that have started.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from tests.benchmarks.simulation.given import MEASURED, Given, Script, Times
from tests.benchmarks.simulation.report import FULL, Report, simulate

FAST = Script(processor=0.015, waits=0.035)
WARM = Script(processor=0.02, waits=0.4)
COLD = Script(processor=0.87, waits=0.4)
SLOW = Script(processor=0.02, waits=30.0)
SCRIPTS: dict[str, tuple[Script, ...]] = {
    "fast": (FAST,),
    "warm": (WARM,),
    "cold": (COLD,),
    "slow": (SLOW,),
    "mixed": (
        replace(FAST, share=0.70),
        replace(WARM, share=0.28),
        replace(SLOW, share=0.02),
    ),
}
"""50 ms of shell; pytos2 with a call or two, preloaded (`runner = "warm"`) or not; half a minute"""
SHORTEST, LONGEST, EVENTS = 60.0, 3600.0, 12_000
"""seconds, and events after which a run says enough"""
HEAD = (
    "scripts  mediators  events/min |   p50      p95      p99     | grows/min  ended/min"
    " | slots interp. cores writer db-cpu db-log | breaks first"
)


def seconds(rate: float) -> float:
    """How long to simulate so many events a second."""
    return min(LONGEST, max(SHORTEST, EVENTS / rate))


def shown(value: float) -> str:
    """A time in the unit that suits it."""
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def row(name: str, given: Given, report: Report) -> str:
    """One line of a table."""
    waits = " ".join(f"{shown(value):>8}" for value in report.waits)
    used = " ".join(f"{min(part, 1.0) * 100:5.0f}%" for part in report.used.values())
    breaks = f"{report.busiest}" + (", full" if report.used[report.busiest] >= FULL else "")
    return (
        f"{name:8} {given.mediators:9}  {given.rate * 60:10.0f} | {waits} |"
        f" {report.growth:9.0f}  {report.throughput:9.0f} | {used} | {breaks}"
    )


def grid(asked: argparse.Namespace, given: Given, times: Times) -> None:
    """Rates and mediators."""
    tell(HEAD)
    for name in asked.scripts:
        for mediators in asked.mediators:
            for rate in asked.rates:
                one = replace(
                    given,
                    scripts=SCRIPTS[name],
                    rate=rate / 60,
                    mediators=mediators,
                    seconds=seconds(rate / 60),
                )
                one = replace(one, warming=one.seconds / 10)
                tell(row(name, one, simulate(one, times)))


def troubles(given: Given) -> dict[str, Given]:
    """What goes wrong, with three mediators and 1000 events a minute of quick scripts."""
    usual = replace(given, scripts=(WARM,), rate=1000 / 60, mediators=3, seconds=900.0)
    hung = (replace(WARM, share=0.95), replace(SLOW, share=0.05))
    kept = (hung[0], replace(hung[1], concurrency=8))
    down = replace(WARM, fails=1.0)
    mixed = replace(usual, scripts=SCRIPTS["mixed"])
    return {
        "nothing": usual,
        "burst x20 for a minute": replace(usual, burst=(120.0, 180.0, 20.0)),
        "the same, 24 slots each": replace(usual, burst=(120.0, 180.0, 20.0), slots=24),
        "1 of 20 takes 30 s": replace(usual, scripts=hung),
        "the same, concurrency 8": replace(usual, scripts=kept),
        "1 of 20 takes 30 s, 24 slots each": replace(usual, scripts=hung, slots=24),
        "half of attempts fail": replace(usual, scripts=(replace(WARM, fails=0.5),)),
        "every attempt fails": replace(usual, scripts=(down,)),
        "mixed scripts": mixed,
        "the same, one of three dies": replace(mixed, dies=300.0),
    }


def trouble(given: Given, times: Times) -> None:
    """Troubles, one a line."""
    tell(
        "trouble                           |   p50      p95      p99     | most that wait  lost"
        "  retries"
    )
    for name, one in troubles(given).items():
        report = simulate(one, times, drain=one.lease * 2)
        waits = " ".join(f"{shown(value):>8}" for value in report.waits)
        tell(f"{name:33} | {waits} | {report.most:14}  {report.lost:4}  {report.retries:7}")


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mediators", type=int, nargs="+", default=[1, 3, 30])
    parser.add_argument("--rates", type=float, nargs="+", default=[10, 100, 1000, 10_000, 100_000])
    parser.add_argument("--scripts", nargs="+", choices=SCRIPTS, default=["fast", "warm", "mixed"])
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--cores", type=int, default=2, help="of each mediator's machine")
    parser.add_argument("--database-cores", type=int, default=4)
    parser.add_argument("--round-trip", type=float, default=0.3, help="milliseconds")
    parser.add_argument("--flush", type=float, help="milliseconds; by default as measured")
    parser.add_argument("--times", type=Path, default=MEASURED)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=["grid", "trouble"])
    asked = parser.parse_args()
    times = Times.read(asked.times)
    if asked.flush is not None:
        times = replace(times, flush=asked.flush / 1000)
    given = Given(
        scripts=(WARM,),
        rate=1.0,
        slots=asked.slots,
        cores=asked.cores,
        database_cores=asked.database_cores,
        round_trip=asked.round_trip / 1000,
        seed=asked.seed,
    )
    only = asked.only or ["grid", "trouble"]
    if "grid" in only:
        grid(asked, given, times)
    if "trouble" in only:
        trouble(given, times)


if __name__ == "__main__":
    main()
