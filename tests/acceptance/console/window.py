"""What tests do with a window of the browser."""

from __future__ import annotations

from dataclasses import dataclass, field

from playwright.async_api import Page, Response

from tests.support.browser import sign_in
from tests.support.mediator import OPERATOR


@dataclass
class Window:
    """One page of a browser, looking at one mediator."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)
    """what the browser's console said: errors, violations of the policy, dialogs"""
    expected: list[str] = field(default_factory=list)
    """parts of complaints that a test provokes"""

    async def sign_in(self, path: str = "", *, token: str = OPERATOR) -> Page:
        """Sign in and go on to `path` of the console."""
        await sign_in(self.page, self.url, token=token, path=path)
        return self.page

    async def go(self, path: str = "") -> Response:
        """To a page of the console."""
        response = await self.page.goto(f"{self.url}/console{path}")
        assert response is not None
        return response

    async def text(self) -> str:
        """What a person can read."""
        return await self.page.locator("body").inner_text()
