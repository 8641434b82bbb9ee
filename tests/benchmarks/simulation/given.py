"""What a simulation starts from: measured service times, scripts, arrivals and settings."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from random import Random

MEASURED = Path(__file__).with_name("measured.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Seconds that one piece of a transaction costs."""

    client: float = 0.0
    """of the thread that writes"""
    server: float = 0.0
    """of one core of the database's machine"""
    trips: float = 0.0
    """round trips between the two; not seconds"""

    def __add__(self, other: Part) -> Part:
        """Both together."""
        return Part(
            client=self.client + other.client,
            server=self.server + other.server,
            trips=self.trips + other.trips,
        )

    def __mul__(self, count: int) -> Part:
        """So many of it."""
        return Part(
            client=self.client * count, server=self.server * count, trips=self.trips * count
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Times:
    """Service times, in seconds; `python -m tests.benchmarks.service_times` measures them."""

    begin: Part = Part()
    """any transaction"""
    accept: Part = Part()
    """the first hand-over in a transaction, beside `accept_each`"""
    accept_each: Part = Part()
    claim: Part = Part()
    """a claim that finds nothing"""
    claim_first: Part = Part()
    """the first delivery that a claim finds, beside `claim_each`"""
    claim_each: Part = Part()
    finish: Part = Part()
    finish_each: Part = Part()
    next_due: Part = Part()
    """the look for when something is due, after each claim that left slots free"""
    notify: Part = Part()
    count_each: Part = Part()
    """each pending delivery, when intake counts what waits"""
    flush: float = 0.0
    """one flush of the write-ahead log"""
    intake: float = 0.0
    """processor time of a mediator's interpreter for a hand-over"""
    attempt: float = 0.0
    """the same for an attempt"""

    @classmethod
    def read(cls, path: Path = MEASURED) -> Times:
        """From a file as `service_times` writes it; all in milliseconds."""
        found = json.loads(path.read_text())["milliseconds"]
        values = {field.name: _read(found[field.name]) for field in fields(cls)}
        return cls(**values)  # type: ignore[arg-type]


def _read(value: float | dict[str, float]) -> float | Part:
    if isinstance(value, dict):
        seconds = {name: value[name] / 1000 for name in ("client", "server")}
        return Part(**seconds, trips=value["trips"])
    return value / 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """How long attempts of one script take, and how often they come."""

    share: float = 1.0
    """part of all events"""
    processor: float = 0.0
    """seconds of one core of the mediator's machine"""
    waits: float = 0.0
    """mean of the seconds it waits for others beside, exponentially distributed"""
    steady: bool = False
    """it always waits as long as in the mean"""
    fails: float = 0.0
    """part of its attempts that fail"""
    concurrency: int | None = None
    """attempts at once, on all mediators"""

    def waiting(self, random: Random) -> float:
        """Of one attempt."""
        return self.waits if self.steady or not self.waits else random.expovariate(1 / self.waits)


@dataclass(frozen=True, kw_only=True, slots=True)
class Retry:
    """As `dispatch.retry`."""

    attempts: int = 5
    first: float = 2.0
    longest: float = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """One run."""

    scripts: tuple[Script, ...]
    rate: float
    """events a second, in the mean"""
    mediators: int = 1
    slots: int = 8
    cores: int = 2
    """of each mediator's machine, for its scripts"""
    database_cores: int = 2
    round_trip: float = 0.0003
    """seconds from a mediator to the database and back"""
    lease: float = 60.0
    retry: Retry = Retry()
    seconds: float = 600.0
    """for which events arrive"""
    warming: float = 0.0
    """seconds at the beginning whose deliveries are not looked at"""
    burst: tuple[float, float, float] | None = None
    """from, to, and how many times as many events arrive between"""
    dies: float | None = None
    """when the first mediator dies"""
    seed: int = 1
    trace: tuple[tuple[float, float], ...] = ()
    """instead of random arrivals: when, and the seconds that its script waits for others"""

    def rate_at(self, now: float) -> float:
        """Events a second at this moment."""
        if self.burst and self.burst[0] <= now < self.burst[1]:
            return self.rate * self.burst[2]
        return self.rate
