"""The simulation of many mediators agrees with what is known without simulating."""

from __future__ import annotations

import statistics
from dataclasses import replace

import pytest

from tests.benchmarks.simulation.cluster import Cluster
from tests.benchmarks.simulation.engine import Engine, Flusher, Station
from tests.benchmarks.simulation.erlang import mean_wait, percentile, waits
from tests.benchmarks.simulation.given import Given, Part, Retry, Script, Times
from tests.benchmarks.simulation.report import part, simulate

FREE = Times()
"""everything but the scripts takes no time"""
QUEUE = Given(scripts=(Script(waits=1.0),), rate=0.8, slots=1, seconds=25_000, warming=500)


def waited(given: Given, times: Times = FREE) -> list[float]:
    cluster = Cluster(given, times).run()
    return sorted(waited for at, waited in cluster.started if at >= given.warming)


def test_erlangs_formula_gives_the_values_of_the_tables() -> None:
    assert waits(8, 10) == pytest.approx(0.4092, abs=0.0001)
    assert mean_wait(0.8, 1, 1) == pytest.approx(4.0), "M/M/1: load / (1 - load)"
    assert percentile(0.8, 1, 1, 0.99) == pytest.approx(21.9, abs=0.02)
    assert percentile(1, 1, 8, 0.5) == 0, "most do not wait"


NEAR = 0.25
"""Means of runs as short as these differ by 8 % (standard deviation over seeds); a slot more or
less would change them by a factor of two or more."""


@pytest.mark.parametrize(
    ("slots", "load", "seconds"),
    [(1, 0.5, 10_000), (1, 0.7, 20_000), (4, 0.7, 5_000), (8, 0.8, 4_000)],
    ids=["M/M/1 half full", "M/M/1", "M/M/4", "M/M/8"],
)
def test_waits_are_those_of_erlang(slots: int, load: float, seconds: float) -> None:
    given = replace(QUEUE, slots=slots, rate=load * slots, seconds=seconds)
    found = waited(given)
    assert statistics.mean(found) == pytest.approx(mean_wait(given.rate, 1, slots), rel=NEAR)
    assert part(found, 0.95) == pytest.approx(percentile(given.rate, 1, slots, 0.95), rel=NEAR)


def test_slots_of_two_mediators_are_one_queue() -> None:
    given = replace(QUEUE, mediators=2, slots=2, rate=2.8, seconds=5_000)
    assert statistics.mean(waited(given)) == pytest.approx(mean_wait(2.8, 1, 4), rel=NEAR)


def test_scripts_that_always_take_as_long_wait_half_as_long() -> None:
    """M/D/1, by Pollaczek and Khinchine."""
    given = replace(QUEUE, scripts=(Script(waits=1.0, steady=True),), seconds=20_000)
    assert statistics.mean(waited(given)) == pytest.approx(2.0, rel=NEAR)


def test_littles_law_holds() -> None:
    given = replace(QUEUE, slots=4, rate=3.0, seconds=10_000)
    cluster = Cluster(given, FREE)
    inside: list[int] = []

    def look() -> None:
        inside.append(cluster.arrived - cluster.succeeded)
        cluster.engine.after(0.5, look)

    look()
    cluster.run()
    sojourn = statistics.mean(spent for _, spent in cluster.spent)
    assert statistics.mean(inside) == pytest.approx(3.0 * sojourn, rel=0.05)


REAL = Times(
    begin=Part(client=0.0005, server=0.0001, trips=6),
    accept_each=Part(server=0.0005),
    claim=Part(server=0.0001, trips=1),
    flush=0.003,
    intake=0.001,
    attempt=0.002,
)


def test_everything_that_arrived_ends_whatever_goes_wrong() -> None:
    given = Given(
        scripts=(Script(waits=0.2, fails=0.3), Script(waits=1.0, concurrency=2, share=0.2)),
        rate=20,
        mediators=3,
        seconds=120,
        burst=(20.0, 30.0, 10.0),
        dies=25.0,
        lease=5.0,
        retry=Retry(attempts=3),
    )
    cluster = Cluster(given, REAL).run()
    cluster.engine.run(1000)
    assert cluster.arrived > 3000
    assert cluster.lost > 0
    assert cluster.dead > 0
    assert cluster.retries > 0
    assert cluster.succeeded + cluster.dead == cluster.arrived == len(cluster.spent)
    assert (cluster.pending, len(cluster.backlog), cluster.backlog.running) == (0, 0, 0)


def test_what_a_dead_mediator_ran_starts_again_after_the_lease() -> None:
    long = Script(waits=1000.0, steady=True)
    given = Given(scripts=(long,), rate=1, mediators=2, slots=4, seconds=60, dies=50, lease=30)
    cluster = Cluster(given, FREE).run()
    assert cluster.lost == 4
    assert len(cluster.backlog) == cluster.arrived - 8
    cluster.engine.run(79)
    assert len(cluster.backlog) == cluster.arrived - 8, "nobody knows yet that it is dead"
    cluster.engine.run(90)
    assert len(cluster.backlog) == cluster.arrived - 4, "a lease, and up to a quarter more"


def test_a_scripts_concurrency_holds_over_all_mediators() -> None:
    given = Given(
        scripts=(Script(waits=0.5, concurrency=3),), rate=20, mediators=5, slots=8, seconds=60
    )
    cluster = Cluster(given, REAL)
    most: list[int] = []

    def look() -> None:
        most.append(cluster.backlog.running)
        cluster.engine.after(0.01, look)

    look()
    cluster.run()
    assert max(most) == 3


def test_events_of_a_burst_come_in_its_time() -> None:
    given = replace(QUEUE, rate=10, slots=1000, seconds=300, burst=(100.0, 160.0, 20.0))
    cluster = Cluster(given, FREE).run()
    during = sum(100 <= at < 160 for at, _ in cluster.started)
    assert during == pytest.approx(12_000, rel=0.05)
    assert cluster.arrived - during == pytest.approx(2400, rel=0.1)


def test_the_same_seed_gives_the_same_figures() -> None:
    given = replace(QUEUE, seconds=200, mediators=2)
    assert simulate(given, REAL) == simulate(given, REAL)
    assert simulate(given, REAL) != simulate(replace(given, seed=2), REAL)


def test_hand_overs_that_come_together_share_transactions() -> None:
    given = replace(QUEUE, trace=tuple((0.0, 0.0) for _ in range(1000)), seconds=60)
    cluster = Cluster(given, Times(flush=1.0))
    cluster.mediators[0].free = 0
    cluster.run()
    assert len(cluster.backlog) == 1000
    assert cluster.database.log.worked == 11, "one lone hand-over, and ten groups of a hundred"


def test_one_flush_serves_all_who_wait_for_it() -> None:
    engine = Engine(1)
    log = Flusher(engine, 1.0)
    done: list[tuple[str, float]] = []
    for at, name in ((0.0, "first"), (0.2, "second"), (0.4, "third")):
        engine.after(at, lambda name=name: log.flush(lambda: done.append((name, engine.now))))  # type: ignore[misc]
    engine.run(10)
    assert done == [("first", 1.0), ("second", 2.0), ("third", 2.0)]


def test_a_station_serves_what_is_urgent_next() -> None:
    engine = Engine(1)
    station = Station(engine, 1)
    done: list[str] = []
    for name, urgent in (("first", False), ("second", False), ("urgent", True)):
        station.use(1.0, lambda name=name: done.append(name), urgent=urgent)  # type: ignore[misc]
    engine.run(10)
    assert done == ["first", "urgent", "second"]
    assert station.worked == 3


@pytest.mark.parametrize(
    ("change", "breaks"),
    [
        ({}, "slots"),
        ({"scripts": (Script(processor=1.0),)}, "script cores"),
        ({"scripts": (Script(),), "rate": 2000, "seconds": 5.0}, "interpreter"),
        (
            {"scripts": (Script(),), "rate": 20_000, "mediators": 50, "seconds": 2.0},
            "database cores",
        ),
    ],
    ids=["slow scripts", "scripts that compute", "many events", "many mediators"],
)
def test_what_is_full_is_named(change: dict[str, object], breaks: str) -> None:
    usual = Given(scripts=(Script(waits=1.0),), rate=20, cores=2, database_cores=1, seconds=10)
    report = simulate(replace(usual, **change), REAL)  # type: ignore[arg-type]
    assert report.busiest == breaks
    assert report.used[breaks] > 0.9


def test_the_measured_times_can_be_read() -> None:
    times = Times.read()
    assert times.accept_each.server > 0
    assert 0 < times.flush < 1
    assert times.begin.trips >= 3
