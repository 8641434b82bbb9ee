"""Takes the pictures of docs/reference/console.md: each page by day, by night, on a phone.

    python -m tests.screenshots [--into docs/reference/console] [page...]

Starts a mediator of its own with sample scripts, hands sample tickets over to it, and looks at it
with Debian's Chromium. Needs `chromium` and, for small files, `pngquant`.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import pi, sin
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page

from tests.support.browser import chromium, sign_in
from tests.support.mediator import REPOSITORY, Client, Handover, Mediator

DIRECTORY = REPOSITORY / "docs" / "reference" / "console"
SETTINGS: Mapping[str, Any] = {
    "dispatch": {"retry": {"attempts": 3, "first": "200ms", "longest": "300ms"}},
}
ROUTES = [
    {"event": ["CREATE", "RESUBMIT"], "workflow": "Firewall*", "scripts": ["notify.py"]},
    {"event": "ADVANCE", "step": "Implementation", "scripts": ["provision.py", "notify.py"]},
    {"event": "CLOSE", "priority": "Critical", "scripts": ["report.sh"]},
]
_BLOCK = "#!/usr/bin/env python3\n# /// script\n# [tool.mediator]\n{keys}# ///\n{text}"


def script(text: str, **keys: str) -> str:
    stated = "".join(f"# {key} = {value}\n" for key, value in keys.items())
    return _BLOCK.format(keys=stated, text=text)


SCRIPTS = {
    "notify.py": script(
        '"""Tells the owner of a server what happens to it."""\n'
        "import sys\nfrom xml.etree import ElementTree\n"
        "ticket = ElementTree.parse(sys.stdin).getroot()\n"
        "print('ticket', ticket.findtext('id'), ticket.findtext('subject'))\n"
        "print('mail sent to netops@example.com')\n",
        timeout='"30s"',
        concurrency="4",
    ),
    "provision.py": script(
        '"""Opens the access on the firewalls."""\n'
        "import os, sys, time, pathlib\n"
        "sys.stdin.read()\n"
        "print('connecting to fw-dmz-01', flush=True)\n"
        "if 'hold' in sys.argv:\n"
        "    print('policy locked by another session, waiting', flush=True)\n"
        "    print('warning: 2 rules overlap with rule 114', file=sys.stderr, flush=True)\n"
        "    time.sleep(600)\n"
        "if 'fail' in sys.argv:\n"
        "    print('fw-dmz-01: 503 Service Unavailable', file=sys.stderr)\n"
        "    raise SystemExit(1)\n"
        "if 'flaky' in sys.argv and os.environ['MEDIATOR_ATTEMPT'] == '1':\n"
        "    print('fw-dmz-01: connection reset', file=sys.stderr)\n"
        "    raise SystemExit(75)\n"
        "print('rule 212 installed')\n",
        timeout='"20m"',
        order='"ticket"',
    ),
    "approve.py": script(
        '"""Decides whether a manager has to approve."""\n'
        "import sys\nsys.stdin.read()\n"
        "print('<response><condition_result>true</condition_result></response>')\n",
        kind='"condition"',
    ),
    "report.sh": "#!/bin/bash\ncat >/dev/null; echo 'report written'\n",
    "archive.py": "#!/opt/python2/bin/python\nprint('never')\n",
}
SUBJECTS = (
    "Open HTTPS from web tier to app tier",
    "Decommission server db-legacy-07",
    "Allow monitoring of DMZ hosts",
    "Temporary access for the auditors",
    "New branch office in Porto",
    "Database replication to the second site",
)
PRIORITIES = ("Low", "Normal", "High", "Critical")


def ticket(number: int) -> bytes:
    subject = SUBJECTS[number % len(SUBJECTS)]
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<ticket_info>\n'
        f"    <id>{4700 + number}</id>\n    <subject>{subject}</subject>\n"
        f"    <priority><id>{number % 4}</id><name>{PRIORITIES[number % 4]}</name></priority>\n"
        "    <requester><id>31</id><login>a.meyer</login>"
        "<display_name>Anna Meyer</display_name></requester>\n"
        "    <current_stage><id>8804</id><name>Implementation</name></current_stage>\n"
        "    <createDate>1772280000000</createDate>\n</ticket_info>\n"
    ).encode()


@dataclass(frozen=True)
class Stage:
    """What there is to be seen."""

    dead: str
    running: str


async def hand(client: Client, number: int, name: str, *arguments: str, event: str = "") -> str:
    answer = await client.hand_over(
        Handover(script=name, arguments=arguments, event=event or "ADVANCE", body=ticket(number))
    )
    assert answer.status in {200, 202}, answer
    return answer.delivery


async def make_history(mediator: Mediator) -> None:
    """A day of deliveries, of which some died."""
    with mediator:
        async with Client(mediator.url) as client:
            made = []
            for number in range(160):
                name = ("notify.py", "provision.py", "report.sh", "notify.py")[number % 4]
                event = ("CREATE", "ADVANCE", "CLOSE", "RESUBMIT")[number % 4]
                end = ("fail",) if number in {17, 65, 133} else ()
                made.append(await hand(client, number, name, "Firewall change", *end, event=event))
            for delivery in made:
                await client.until(delivery, "succeeded", "dead")
        mediator.terminate()
    _spread(mediator.home / "state" / "mediator.db")


def _spread(path: Path) -> None:
    """Put what has just happened into the last day, more of it into working hours."""
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT seq FROM deliveries ORDER BY seq").fetchall()
    for place, (seq,) in enumerate(rows):
        share = 1 - place / len(rows)
        hours = 23.5 * (share + 0.11 * sin(2 * pi * share))
        back = int(hours * 3600 * 10**6)
        connection.execute(
            "UPDATE deliveries SET received = received - ?, ended = ended - ? WHERE seq = ?",
            (back, back, seq),
        )
        connection.execute(
            "UPDATE attempts SET started = started - ?, ended = ended - ? WHERE delivery = ?",
            (back, back, seq),
        )
    connection.commit()
    connection.close()


async def set_stage(client: Client) -> Stage:
    """What is seen closely: some that are dead, one that runs, one that waits."""
    await hand(client, 240, "approve.py", "4940")
    flaky = await hand(client, 241, "provision.py", "Firewall change", "flaky")
    dead = [await hand(client, 242 + n, "provision.py", "Firewall change", "fail") for n in (0, 1)]
    for delivery in dead:
        await client.until(delivery, "dead")
    await client.until(flaky, "succeeded")
    running = await hand(client, 250, "provision.py", "Firewall change", "hold")
    await client.until(running, "running")
    waiting = [await hand(client, 250, "provision.py", "Firewall change", str(n)) for n in (0, 1)]
    await client.post(f"/v1/deliveries/{waiting[1]}/cancel")
    return Stage(dead=dead[1], running=running)


def addresses(stage: Stage) -> dict[str, str]:
    return {
        "overview": "",
        "deliveries": "/deliveries",
        "delivery": f"/deliveries/{stage.dead}",
        "running": f"/deliveries/{stage.running}",
        "scripts": "/scripts",
        "script": "/scripts/provision.py",
        "routes": "/routes?event=ADVANCE&step=Implementation",
        "sign-in": "/sign-in",
    }


WAYS: Mapping[str, Mapping[str, Any]] = {
    "light": {"viewport": {"width": 1200, "height": 800}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1200, "height": 800}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 740}, "color_scheme": "light"},
}
TALLEST = 1400


async def take(
    browser: Browser, mediator: Mediator, stage: Stage, into: Path, only: Sequence[str]
) -> None:
    for way, options in WAYS.items():
        context = await browser.new_context(**options)
        page = await context.new_page()
        for name, path in addresses(stage).items():
            if only and name not in only:
                continue
            if name == "sign-in":
                await context.clear_cookies()
                await page.goto(f"{mediator.url}/console/sign-in")
            elif "/sign-in" in page.url or page.url == "about:blank":
                await sign_in(page, mediator.url, path=path)
            else:
                await page.goto(f"{mediator.url}/console{path}")
            await _shoot(page, into / f"{name}-{way}.png")
        await context.close()


async def _shoot(page: Page, path: Path) -> None:
    size = page.viewport_size
    assert size is not None
    height = min(await page.evaluate("document.documentElement.scrollHeight"), TALLEST)
    clip: Any = {"x": 0, "y": 0, "width": size["width"], "height": height}
    await page.screenshot(path=path, full_page=True, clip=clip, animations="disabled")
    if shutil.which("pngquant"):
        await asyncio.to_thread(_shrink, path)


def _shrink(path: Path) -> None:
    command = ["pngquant", "--force", "--skip-if-larger", "--ext", ".png", "64", str(path)]
    subprocess.run(command, check=False)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=DIRECTORY)
    parser.add_argument("pages", nargs="*")
    options = parser.parse_args()
    options.into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        mediator = Mediator(Path(scratch), dict(SETTINGS))
        for name, text in SCRIPTS.items():
            mediator.script(name, text)
        mediator.config.write_text(mediator.config.read_text() + f"routes: {ROUTES!r}\n")
        await make_history(mediator)
        with mediator:
            async with Client(mediator.url) as client, chromium() as browser:
                stage = await set_stage(client)
                await take(browser, mediator, stage, options.into, options.pages)
                await client.post(f"/v1/deliveries/{stage.running}/cancel")


if __name__ == "__main__":
    asyncio.run(main())
