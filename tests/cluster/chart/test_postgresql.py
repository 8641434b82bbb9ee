"""Two mediators on PostgreSQL, and their schema by a Job."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tests.cluster.chart.outcomes import until_done
from tests.support.cluster import Load, Namespace, Release
from tests.support.conditions import eventually_true
from tests.support.postgresql import Postgresql, running

pytestmark = pytest.mark.timeout(600)
PASSWORD = "correct horse battery staple"  # noqa: S105 - invented


@dataclass(frozen=True, kw_only=True, slots=True)
class Database:
    """One that pods reach by a password."""

    url: str

    @property
    def values(self) -> dict[str, Any]:
        """What the chart is told of it."""
        return {
            "image": {"repository": "localhost/mediator", "tag": "test", "pullPolicy": "Never"},
            "store": {
                "url": self.url,
                "existingSecret": "mediator-database",
                "migrate": "job",
            },
            "replicas": 2,
        }


@pytest.fixture(scope="session")
def server() -> Iterator[Postgresql]:
    """A server on this machine that listens to the pods too."""
    with running() as server:
        server.stop()
        with (server.data / "postgresql.conf").open("a") as file:
            file.write("listen_addresses = '*'\n")
        with (server.data / "pg_hba.conf").open("a") as file:
            file.write("host all all all scram-sha-256\n")
        server.start()
        changed = sql.SQL("ALTER ROLE mediator PASSWORD {}").format(sql.Literal(PASSWORD))
        server.run(changed)
        yield server


@pytest.fixture
def database(server: Postgresql, space: Namespace) -> Iterator[Database]:
    """An empty one. `TEST_HOST_ADDRESS` is this machine as pods see it."""
    host = os.environ.get("TEST_HOST_ADDRESS", "10.200.0.1")
    space.secret("mediator-database", {"password": PASSWORD})
    with server.database(empty=True) as url:
        name = conninfo_to_dict(url)["dbname"]
        yield Database(url=f"postgresql://mediator@{host}:{server.port}/{name}")


@pytest.fixture
def shared(values: dict[str, Any], database: Database) -> dict[str, Any]:
    """Values of a release on it."""
    return {**values, **database.values}


def test_several_mediators_share_what_arrives(
    release: Release, space: Namespace, shared: dict[str, Any], load: Load, url: str
) -> None:
    release.install(shared)
    assert space.get("deployment", "mediator")["status"]["readyReplicas"] == 2
    assert not space.get("persistentvolumeclaims")["items"]
    assert "hello TEST" in release.test()
    load.start(url=url, script="hello", limit=40)
    load.wait()
    until_done(space, load)
    pods = space.get("pods", "--selector=app.kubernetes.io/name=mediator")["items"]
    assert len(pods) == 2
    assert all(_ran_some(space, pod["metadata"]["name"]) for pod in pods)


def _ran_some(space: Namespace, pod: str) -> bool:
    return "attempt ended" in space.must("logs", pod, "--container", "mediator")


def test_new_mediators_take_over_under_load_and_the_old_ones_come_back(
    release: Release,
    space: Namespace,
    shared: dict[str, Any],
    load: Load,
    url: str,
    previous: Path,
) -> None:
    release.install(shared, chart=previous)
    before = _pods(space)
    load.start(url=url, script="hello", tag="test")
    changed = {"dispatch": {**shared["config"]["dispatch"], "slots": 4}}
    release.upgrade({**shared, "config": changed})
    eventually_true(lambda: before.isdisjoint(_pods(space)))
    release.rollback()
    eventually_true(lambda: len(_pods(space)) == 2)
    load.stop()
    until_done(space, load)
    labels = space.get("deployment", "mediator")["metadata"]["labels"]
    assert labels["helm.sh/chart"] == "mediator-0.0.1"
    release.test()


def _pods(space: Namespace) -> set[str]:
    found = space.get("pods", "--selector=app.kubernetes.io/name=mediator")["items"]
    return {pod["metadata"]["name"] for pod in found}
