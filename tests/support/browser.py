"""Debian's Chromium, driven by Playwright, without a word to anybody on the network."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, Page, async_playwright

from tests.support.mediator import OPERATOR

_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser. `tests/run` installs it where it is missing."""
    path = shutil.which("chromium")
    assert path is not None, "there is no chromium; tests/run acceptance installs it"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(_QUIET))
        try:
            yield browser
        finally:
            await browser.close()


async def sign_in(page: Page, url: str, *, token: str = OPERATOR, path: str = "") -> None:
    """Sign in as a person does, and go on to `path` of the console."""
    await page.goto(f"{url}/console{path}")
    await page.get_by_label("Token").fill(token)
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url(lambda address: "/sign-in" not in address)
