"""The catalog and the kernel agree on what can be started."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mediator.catalog.loader import ScriptsDirectory
from mediator.settings.schema import Settings


@pytest.mark.parametrize(
    "first_line",
    [
        pytest.param(b"#!/bin/sh\n", id="sh"),
        pytest.param(b"#! /bin/sh -e\n", id="with an argument"),
        pytest.param(b"#!/usr/bin/env sh\n", id="env"),
        pytest.param(b"#!/usr/bin/env -S sh -e\n", id="env with options"),
        pytest.param(b"#!/usr/bin/env -S A=1 sh\n", id="env with a variable"),
        pytest.param(b"#!/bin/sh\r\n", id="CRLF"),
        pytest.param(b"#!/usr/bin/env sh\r\n", id="CRLF with env"),
        pytest.param(b"#!/usr/bin/env sh -e\n", id="env with options but without -S"),
        pytest.param(b"#!/no/such\n", id="no interpreter"),
        pytest.param(b"#!/usr/bin/env no-such-program\n", id="no program"),
        pytest.param(b"#!sh\n", id="relative"),
        pytest.param(b"#!\n", id="nothing"),
        pytest.param(b"\xef\xbb\xbf#!/bin/sh\n", id="byte order mark"),
        pytest.param(b"", id="empty"),
    ],
)
def test_ready_means_that_it_starts(tmp_path: Path, first_line: bytes) -> None:
    path = tmp_path / "script"
    path.write_bytes(first_line and first_line + b"exit 0\n")
    path.chmod(0o755)
    settings = Settings.model_validate({"scripts": {"directory": tmp_path}})
    script = ScriptsDirectory(settings=settings).load().scripts["script"]
    assert script.ready is _starts(path), script.problem


def _starts(path: Path) -> bool:
    try:
        ended = subprocess.run([path], check=False, capture_output=True, cwd="/", timeout=30)
    except OSError:
        return False
    return ended.returncode == 0
