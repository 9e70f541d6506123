"""Fixtures of the browser tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.support.browser import chromium
from tests.support.chat import Chat
from tests.support.stack import Stack

EXPECT_MS = 60_000
"""Milliseconds to wait for an expected element of a page; it only catches a hang."""


@pytest.hookimpl(tryfirst=True)  # before pytest-asyncio
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run all tests here in one loop, the browser's."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and item.get_closest_marker("asyncio"):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session", autouse=True)
def patience() -> None:
    """Extend the wait for a page to what a busy machine may need; Playwright's default is five seconds."""
    expect.set_options(timeout=EXPECT_MS)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def session_browser() -> AsyncIterator[Browser]:
    """Start one browser for all tests, since a start takes longer than most of them."""
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def browser(session_browser: Browser) -> AsyncIterator[Browser]:
    """Return a browser whose windows share nothing between tests and are closed after the test."""
    yield session_browser
    for context in session_browser.contexts:
        await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def chat(stack: Stack) -> AsyncIterator[Chat]:
    """Return a client of the shared stack's chat service in the browser's loop."""
    chat = Chat(stack.rpc_target)
    yield chat
    await chat.close()
