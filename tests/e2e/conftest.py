"""What every test in a browser asks for."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, expect

from tests.support.browser import chromium

EXPECT_MS = 60_000
"""Most milliseconds to wait for what a page has to show; it only catches a hang."""


@pytest.fixture(scope="session", autouse=True)
def patience() -> None:
    """Wait for a page as long as a busy machine may need: five seconds is Playwright's own."""
    expect.set_options(timeout=EXPECT_MS)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser
