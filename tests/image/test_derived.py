"""An image of one's own with scripts in it, by the Dockerfile that docs/how-to/image.md shows."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from tests.support.mediator import REPOSITORY
from tests.support.podman import SLIM, must, podman
from tests.support.wheels import make_wheel

pytestmark = [pytest.mark.timeout(900), pytest.mark.usefixtures("built")]

NEEDY = """\
#!/usr/bin/env python3
# /// script
# dependencies = ["something-needed"]
# ///
import something_needed
print("has", something_needed.VALUE)
"""

LOCAL = """\
ENV MEDIATOR_ENVIRONMENTS__OFFLINE=true
ENV MEDIATOR_ENVIRONMENTS__WHEELS='["/wheels"]'
"""
"""Packages are here instead of in an index."""


def documented() -> str:
    """The Dockerfile of the page."""
    text = (REPOSITORY / "docs" / "how-to" / "image.md").read_text()
    found = re.search(r"^    FROM .*\n(?:    .*\n)+", text, re.MULTILINE)
    assert found is not None
    return textwrap.dedent(found[0])


def test_scripts_and_their_packages_can_be_in_the_image(tmp_path: Path) -> None:
    make_wheel(tmp_path / "wheels", "something-needed", "2.5")
    script = tmp_path / "scripts" / "needy.py"
    script.parent.mkdir()
    script.write_text(NEEDY)
    script.chmod(0o755)
    base, _, rest = documented().partition("\n")
    assert base.startswith("FROM registry.example.com/mediator:")
    file = tmp_path / "Dockerfile"
    file.write_text(f"FROM {SLIM}\n{LOCAL}COPY wheels/ /wheels/\n{rest}")
    image = "localhost/mediator-derived:test"
    must("build", "--quiet", "--format", "docker", "--pull=never", "--tag", image, str(tmp_path))
    options = ("--rm", "--network", "none", "--read-only", "--user", "12345:12345")
    ticket = b"<ticket_info><id>7</id></ticket_info>"
    done = podman(
        "run", *options, "--interactive", image, "run", "needy.py", "--ticket", "-", stdin=ticket
    )
    assert done.stdout == "has 2.5\n", done.stderr
    must("rmi", image)
