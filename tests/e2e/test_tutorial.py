"""Follow docs/tutorial.md word by word; `make proofs` does the same and measures the duration of its steps."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.e2e.tutorial import Newcomer, follow

pytestmark = pytest.mark.browser


@pytest_asyncio.fixture(loop_scope="session")
async def newcomer(tmp_path: Path) -> AsyncIterator[Newcomer]:
    newcomer = Newcomer(tmp_path)
    yield newcomer
    await newcomer.leave()


async def test_tutorial_works_word_by_word(newcomer: Newcomer, browser: Browser) -> None:
    await follow(newcomer, browser)
