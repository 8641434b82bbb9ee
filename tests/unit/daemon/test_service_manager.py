"""What a service manager is told about, by the environment that it sets."""

from __future__ import annotations

import os

import pytest

from mediator.daemon.service_manager import ServiceManager

PID = str(os.getpid())


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({}, ServiceManager(), id="started by hand"),
        pytest.param(
            {"NOTIFY_SOCKET": "/run/systemd/notify"},
            ServiceManager(address="/run/systemd/notify"),
            id="no watchdog",
        ),
        pytest.param(
            {"NOTIFY_SOCKET": "@notify", "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": PID},
            ServiceManager(address="@notify", patience=60.0),
            id="a watchdog over this process",
        ),
        pytest.param(
            {"NOTIFY_SOCKET": "@notify", "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"},
            ServiceManager(address="@notify"),
            id="a watchdog over another process",
        ),
        pytest.param(
            {"NOTIFY_SOCKET": "@notify", "WATCHDOG_USEC": "soon"},
            ServiceManager(address="@notify"),
            id="a time that is none",
        ),
    ],
)
def test_the_environment_says_who_wants_to_know(
    environ: dict[str, str], expected: ServiceManager
) -> None:
    assert ServiceManager.of(environ) == expected


def test_nobody_is_told_where_nobody_asks() -> None:
    ServiceManager().ready("taking work")
