"""A namespace, and a mediator that pods reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.keeper.support import Commands, address, connected
from tests.cluster.keeper.support import namespace as made
from tests.support.mediator import Mediator


@pytest.fixture
def namespace() -> Iterator[str]:
    """A namespace of this test alone."""
    with connected(), made() as name:
        yield name


@pytest.fixture
def mediator(tmp_path: Path, namespace: str) -> Iterator[Mediator]:
    """A running mediator with a script; its settings name the namespace's pods."""
    del namespace
    running = Mediator(tmp_path, {"http": {"host": address(), "port": 0}})
    running.script("notify.sh", "#!/bin/sh\ncat >/dev/null\n")
    with running:
        yield running


Configure = Callable[..., Commands]


@pytest.fixture
def configure(mediator: Mediator, namespace: str) -> Configure:
    """Writes the section `shim`; what is named wins."""

    def write(**shim: Any) -> Commands:
        usual = {"namespace": namespace, "selector": "app=securechange", "url": mediator.url}
        mediator.configure({"http": {"host": address()}, "shim": {**usual, **shim}})
        return Commands(config=mediator.config)

    return write
