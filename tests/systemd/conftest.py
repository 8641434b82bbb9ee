"""Machines for the tests of this folder, one for each of its files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.systemd.machine import Machine, machine


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with nothing installed."""
    with machine(tmp_path_factory.mktemp("share")) as started:
        yield started


@pytest.fixture(scope="module")
def installed(host: Machine) -> Machine:
    """A machine with a mediator that runs."""
    told = host.install()
    assert told.returncode == 0, told.stderr
    return host
