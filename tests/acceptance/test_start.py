"""A mediator that cannot do its work refuses to start, and says in one line what to mend."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.mediator import Client, Mediator
from tests.support.scripts import OK


def refusal(mediator: Mediator) -> str:
    """What it says; it must end by itself, without a traceback, with EX_CONFIG."""
    ended = mediator.refuse()
    assert ended.returncode == 78, ended
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
    return "\n".join(line for line in ended.stderr.splitlines() if not line.startswith("{"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param(
            {"http": {"prot": 1}}, ["http.prot", "did you mean", "port"], id="unknown key"
        ),
        pytest.param({"htpp": {"port": 1}}, ["htpp", "http"], id="unknown section"),
        pytest.param({"http": {"port": "eighty"}}, ["http.port", "eighty"], id="wrong type"),
        pytest.param({"http": {"port": 70000}}, ["http.port", "70000"], id="out of bounds"),
        pytest.param(
            {"dispatch": {"timeout": "soon"}}, ["dispatch.timeout", "soon"], id="no duration"
        ),
        pytest.param(
            {"auth": {"keys": [{"id": "a", "secret_file": "gone.key"}]}},
            ["auth.keys[0]", "gone.key"],
            id="no such secret",
        ),
        pytest.param(
            {"auth": {"keys": [{"id": "a", "secret_file": "open.key"}]}},
            ["auth.keys[0]", "open.key", "chmod"],
            id="a secret all may read",
        ),
        pytest.param(
            {"auth": {"keys": [{"id": "a", "secret_file": "short.key"}]}},
            ["short.key", "32"],
            id="a short secret",
        ),
        pytest.param(
            {"scripts": {"directory": "nowhere"}},
            ["scripts.directory", "nowhere", "does not exist"],
            id="no scripts directory",
        ),
        pytest.param(
            {"store": {"url": "sqlite:///file/mediator.db"}},
            ["store.url", "file/mediator.db"],
            id="no directory for the store",
        ),
    ],
)
def test_a_mistake_in_the_settings_is_named(
    tmp_path: Path, settings: dict[str, Any], words: list[str]
) -> None:
    (tmp_path / "open.key").write_text("s" * 40)
    (tmp_path / "open.key").chmod(0o644)
    (tmp_path / "short.key").write_text("s" * 10)
    (tmp_path / "short.key").chmod(0o600)
    (tmp_path / "file").write_text("in the way")
    mediator = Mediator(tmp_path)
    tree = yaml.safe_load(mediator.config.read_text())
    for section, values in settings.items():
        tree[section] = {**tree.get(section, {}), **values}
    mediator.config.write_text(yaml.safe_dump(tree))
    said = refusal(mediator)
    for word in words:
        assert word in said, said
    assert "s" * 10 not in said, "it tells a secret"


@pytest.mark.parametrize("key", ["port", "metrics_port"])
def test_a_port_that_is_taken_is_named_and_nothing_is_left_behind(tmp_path: Path, key: str) -> None:
    mediator = Mediator(tmp_path)
    ran = tmp_path / "ran"
    mediator.script("mark.sh", f"#!/bin/sh\ntouch {ran}\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        mediator.configure({"http": {"port": 0, key: port}})
        said = refusal(mediator)
    assert f"http.{key}" in said
    assert str(port) in said
    assert f"MEDIATOR_HTTP__{key.upper()}" in said
    assert said.count("\n") == 0, "one line"
    with mediator:
        """Neither its lock nor its launcher is left: it starts now."""
    assert not ran.exists()


def test_a_second_mediator_on_the_same_store_is_refused(tmp_path: Path) -> None:
    mediator = Mediator(tmp_path)
    mediator.script("ok.sh", OK)
    with mediator:
        assert "another mediator" in refusal(mediator)


async def test_the_ready_line_names_the_ports_it_really_has(tmp_path: Path) -> None:
    mediator = Mediator(tmp_path, settings={"http": {"port": 0, "metrics_port": 0}})
    with mediator:
        assert mediator.url != mediator.metrics_url
        async with Client(mediator.url) as client:
            assert (await client.get("/livez", token=None)).status == 200
            assert (await client.get("/metrics")).status == 404
        async with Client(mediator.metrics_url) as client:
            for path in ("/livez", "/readyz", "/metrics"):
                assert (await client.get(path, token=None)).status == 200
            assert (await client.get("/v1/deliveries")).status == 404


async def test_the_same_port_for_both_is_one_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    mediator = Mediator(tmp_path, settings={"http": {"port": port, "metrics_port": port}})
    with mediator:
        assert mediator.url == mediator.metrics_url == f"http://127.0.0.1:{port}"
        async with Client(mediator.url) as client:
            assert (await client.get("/metrics", token=None)).status == 200
            assert (await client.get("/v1/scripts")).status == 200
