"""Scroll a chat group with many messages in a real Chromium from its end to its beginning and back."""

import time
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import Browser, expect

from tests.support.browser import arrive
from tests.support.chat import Chat
from tests.support.stack import Stack

MAX_ROWS = 200
"""The limit of rows drawn at once, for any number of messages."""
SCROLL_UP = """async () => {
    const scroller = document.getElementById("scroller");
    let most = 0;
    for (let step = 0; step < 200; step += 1) {
        scroller.scrollTop -= 300;
        await new Promise(requestAnimationFrame);
        most = Math.max(most, document.querySelectorAll("#messages li").length);
    }
    return most;
}"""
"""Scroll up in 200 steps; return the most rows drawn at once."""


@dataclass(frozen=True)
class Scrolled:
    """The measurements. ``rows``: most rows drawn at once; ``back_seconds``: from the newest message to the first."""

    rows: int
    back_seconds: float


async def scroll(browser: Browser, folder: Path, count: int, *, seconds: float = 120) -> Scrolled:
    """Fill a group with so many messages and read it in a browser; ``seconds``: the limit for scrolling back."""
    stack = Stack(folder)
    try:
        gateway = stack.start()
        chat = Chat(stack.rpc_target)
        ids = stack.demo_users()
        group = await chat.group(ids["alice"], ids["bob"], name="Long")
        stack.fill(group, ids["bob"], count)
        alice = await arrive(browser, gateway.http)
        await alice.log_in("alice")
        await alice.open("Long")
        newest = f"filled {count - 1}"
        await expect(alice.message(newest)).to_be_visible()
        began = time.monotonic()
        await alice.scroll_to_top(until="filled 0", seconds=seconds)
        back_seconds = time.monotonic() - began
        rows = await alice.page.locator("#messages li").count()
        await alice.page.get_by_role("button", name="Jump to newest").click()
        await expect(alice.message(newest)).to_be_in_viewport()
        rows = max(rows, await alice.page.evaluate(SCROLL_UP))
        assert rows < MAX_ROWS, "the rows that are drawn at once grow with the messages"
        await chat.say(group, ids["bob"], "one more", "one-more")
        await expect(alice.page.get_by_role("button", name="1 new below")).to_be_visible()
        await alice.page.get_by_role("button", name="1 new below").click()
        await expect(alice.message("one more")).to_be_in_viewport()
        await chat.close()
        return Scrolled(rows, back_seconds)
    finally:
        stack.stop()
