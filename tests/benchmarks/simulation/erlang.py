"""What is known without simulating: the M/M/c queue.

Erlang's C formula: https://en.wikipedia.org/wiki/Erlang_(unit)#Erlang_C_formula
"""

from __future__ import annotations

from math import exp, factorial, log


def waits(load: float, servers: int) -> float:
    """The part of arrivals that wait; `load`: arrivals in a service time, below `servers`."""
    full = load**servers / factorial(servers) * servers / (servers - load)
    return full / (sum(load**n / factorial(n) for n in range(servers)) + full)


def mean_wait(rate: float, service: float, servers: int) -> float:
    """Mean seconds that an arrival waits."""
    load = rate * service
    return waits(load, servers) * service / (servers - load)


def percentile(rate: float, service: float, servers: int, share: float) -> float:
    """Seconds that this share of arrivals waits at most."""
    load = rate * service
    longer = waits(load, servers)
    if longer <= 1 - share:
        return 0.0
    return log(longer / (1 - share)) * service / (servers - load)


def tail(rate: float, service: float, servers: int, seconds: float) -> float:
    """The part of arrivals that wait longer than this."""
    load = rate * service
    return waits(load, servers) * exp(-(servers - load) / service * seconds)
