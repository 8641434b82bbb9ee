"""Which faults there are, for either store."""

from __future__ import annotations

from tests.faults.clock_faults import JumpClock
from tests.faults.fault import Fault
from tests.faults.process_faults import (
    KillMediator,
    StopMediator,
    kill_launcher,
    kill_supervisor,
    kill_warm_parent,
)
from tests.faults.store_faults import (
    FullDisk,
    KillPostgresql,
    LockedFile,
    NoLargerFiles,
    StopPostgresql,
    TornLog,
)
from tests.faults.wire_faults import Cut, Reset, Stall, to_the_database, to_the_mediators


def of_sqlite() -> list[Fault]:
    """Those of one mediator with a file."""
    return [
        KillMediator(),
        *_of_processes(),
        StopMediator(cuts=False),  # nobody is there to take over
        *_of_callers(),
        FullDisk(),
        NoLargerFiles(),
        LockedFile(),
        TornLog(),
        JumpClock(ahead=True),
        JumpClock(ahead=False),
    ]


def of_postgresql() -> list[Fault]:
    """Those of two mediators with one database which are not the same with a file."""
    return [
        KillMediator(),
        StopMediator(),
        KillPostgresql(),
        StopPostgresql(),
        Stall(name="network to PostgreSQL stalls", which=to_the_database, cuts=True),
        Reset(name="network to PostgreSQL resets", which=to_the_database, cuts=True),
        Cut(name="network to PostgreSQL is cut", which=to_the_database, cuts=True),
        JumpClock(ahead=True),
    ]


def all_of_postgresql() -> list[Fault]:
    """All of theirs."""
    return [*of_postgresql(), *_of_processes(), *_of_callers(), JumpClock(ahead=False)]


def _of_processes() -> list[Fault]:
    return [kill_launcher(), kill_supervisor(), kill_warm_parent()]


def _of_callers() -> list[Fault]:
    return [
        Stall(name="network to the mediator stalls", which=to_the_mediators, cuts=False),
        Reset(name="network to the mediator resets", which=to_the_mediators, cuts=False),
        Cut(name="network to the mediator is cut", which=to_the_mediators, cuts=False),
    ]
