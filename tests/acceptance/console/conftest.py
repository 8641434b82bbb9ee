"""A mediator with something to see, and a browser to see it with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage

from tests.acceptance.console.window import Window
from tests.support.browser import chromium
from tests.support.mediator import Client, Mediator
from tests.support.scripts import OK, interactive

STEPS = """#!/usr/bin/env python3
# Writes, waits for the gate that its first argument names, and ends as the second one says.
import os, sys, time
home, gate, end = os.path.dirname(os.path.dirname(__file__)), *sys.argv[1:3]
print("first line of", gate, flush=True)
print("a warning", file=sys.stderr, flush=True)
while not os.path.exists(os.path.join(home, gate)):
    time.sleep(0.01)
print("last line", "\\u202e\\x1b[31m<b>bold</b>")
sys.exit(int(end) if os.environ["MEDIATOR_ATTEMPT"] == "1" else 0)
"""
FLOOD = """#!/bin/bash
# Fails, and writes more than a page shows.
for ((n = 0; n < 10000; n++)); do printf 'line %05d\\n' "$n"; done
exit 1
"""
ROUTES = [
    {"event": "CREATE", "workflow": "Fire*", "scripts": ["ok.sh"]},
    {"event": "CLOSE", "scripts": ["steps.py", "gone.py"]},
]


@pytest.fixture(scope="module")
def mediator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mediator]:
    """Two tokens, some scripts of which one cannot run, and routes."""
    made = Mediator(
        tmp_path_factory.mktemp("mediator"),
        settings={"dispatch": {"retry": {"attempts": 12, "first": "10ms", "longest": "10ms"}}},
    )
    (made.home / "sender.token").write_text("s" * 40)
    (made.home / "sender.token").chmod(0o600)
    text = made.config.read_text()
    sender = "  - {name: carrier, role: sender, secret_file: sender.token}\n"
    text = text.replace("  tokens:\n", f"  tokens:\n{sender}")
    made.config.write_text(f"{text}routes: {ROUTES}\n")
    made.script("steps.py", STEPS)
    made.script("ok.sh", OK)
    made.script("gives-up.sh", "#!/bin/sh\necho 'no such firewall' >&2\nexit 77\n")
    made.script("flood.sh", FLOOD)
    made.script("condition.py", interactive("print('yes')"))
    made.script("broken.py", "#!/no/such/interpreter\n")
    with made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def client(mediator: Mediator) -> AsyncIterator[Client]:
    """Hands over, and asks the API."""
    async with Client(mediator.url) as client:
        yield client


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium, of this process; each test has a context of its own in it."""
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def window(mediator: Mediator, browser: Browser) -> AsyncIterator[Window]:
    """A page of the browser that has JavaScript; nothing may go wrong in it unseen."""
    async with opened(mediator, browser) as window:
        yield window


@pytest_asyncio.fixture(loop_scope="session")
async def plain(mediator: Mediator, browser: Browser) -> AsyncIterator[Window]:
    """A page of the browser without JavaScript."""
    async with opened(mediator, browser, java_script_enabled=False) as window:
        yield window


@asynccontextmanager
async def opened(mediator: Mediator, browser: Browser, **options: object) -> AsyncIterator[Window]:
    """A window that ends with an error if its console told one that nobody expected."""
    context: BrowserContext = await browser.new_context(**options)  # type: ignore[arg-type]
    context.set_default_timeout(60_000)
    page = await context.new_page()
    window = Window(page=page, url=mediator.url)

    def note(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            window.complaints.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: window.complaints.append(str(error)))
    page.on("dialog", lambda dialog: window.complaints.append(f"dialog {dialog.message}"))
    yield window
    await context.close()
    unexpected = [text for text in window.complaints if not any(e in text for e in window.expected)]
    assert unexpected == []
