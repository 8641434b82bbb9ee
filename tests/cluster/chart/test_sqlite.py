"""One mediator on SQLite, from its installation to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cluster.chart.outcomes import until_done
from tests.support.cluster import Load, Namespace, Release

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("disk")]


def test_a_ticket_is_taken_by_what_was_installed(
    release: Release, space: Namespace, values: dict[str, Any], load: Load, url: str
) -> None:
    notes = release.install(values)
    assert "helm test mediator" in notes
    told = release.test()
    assert "hello TEST" in told
    assert "the script hello.sh took the event TEST" in told
    load.start(url=url, script="hello", limit=8)
    load.wait()
    assert load.accepted() == set(range(1, 9)), load.log()
    until_done(space, load)


def test_an_upgrade_under_load_loses_nothing_and_can_be_rolled_back(
    release: Release,
    space: Namespace,
    values: dict[str, Any],
    load: Load,
    url: str,
    previous: Path,
) -> None:
    release.install(values, chart=previous)
    load.start(url=url, script="hello")
    release.upgrade({**values, "image": {**values["image"], "tag": "test"}})
    load.stop()
    until_done(space, load)
    assert space.get("deployment", "mediator")["metadata"]["labels"]["helm.sh/chart"] != (
        "mediator-0.0.1"
    )
    release.rollback()
    deployment = space.get("deployment", "mediator")
    assert deployment["metadata"]["labels"]["helm.sh/chart"] == "mediator-0.0.1"
    release.test()
    until_done(space, load)


def test_an_image_that_is_not_there_is_rolled_back(
    release: Release, space: Namespace, values: dict[str, Any], load: Load, url: str, version: str
) -> None:
    release.install(values)
    load.start(url=url, script="hello", limit=4)
    load.wait()
    back = "--atomic" if version == "3" else "--rollback-on-failure"
    bad = {**values, "image": {**values["image"], "tag": "no-such-tag"}}
    release.refused_upgrade(bad, back, "--timeout", "90s")
    assert release.status()["info"]["status"] == "deployed"
    (container,) = space.get("deployment", "mediator")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "localhost/mediator:slim"
    release.test()
    until_done(space, load)


def test_tickets_outlive_the_release(
    release: Release, space: Namespace, values: dict[str, Any], load: Load, url: str
) -> None:
    release.install(values)
    load.start(url=url, script="hello", limit=4)
    load.wait()
    until_done(space, load)
    told = release.must("uninstall", "mediator", "--wait")
    assert "kept due to the resource policy" in told
    assert "[PersistentVolumeClaim] mediator" in told
    assert space.get("persistentvolumeclaim", "mediator")["status"]["phase"] == "Bound"
    assert not space.get(
        "deployments,services,configmaps", "--selector=app.kubernetes.io/instance"
    )["items"]
    release.install(values)
    until_done(space, load)
