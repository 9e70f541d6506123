"""What every test in a browser asks for."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.support.browser import chromium
from tests.support.chat import Chat
from tests.support.stack import Stack

EXPECT_MS = 60_000
"""Most milliseconds to wait for what a page has to show; it only catches a hang."""


@pytest.hookimpl(tryfirst=True)  # before pytest-asyncio looks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here run in one loop, the browser's."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and item.get_closest_marker("asyncio"):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session", autouse=True)
def patience() -> None:
    """Wait for a page as long as a busy machine may need: five seconds is Playwright's own."""
    expect.set_options(timeout=EXPECT_MS)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def session_browser() -> AsyncIterator[Browser]:
    """The browser of all tests: to start one takes longer than most of them."""
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def browser(session_browser: Browser) -> AsyncIterator[Browser]:
    """A browser without a window; those that a test opens share nothing with others, and are closed after it."""
    yield session_browser
    for context in session_browser.contexts:
        await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def chat(stack: Stack) -> AsyncIterator[Chat]:
    """The shared stack's chat service, asked in the browser's loop."""
    chat = Chat(stack.rpc_target)
    yield chat
    await chat.close()
