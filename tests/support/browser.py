"""Drive a real Chromium with Playwright."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from playwright.async_api import Browser, ConsoleMessage, Locator, Page, WebSocket, async_playwright, expect

from tests.support.schemas import Exchange
from tests.support.waiting import LIMIT
from tools.chromium import find

expect.set_options(timeout=LIMIT * 1_000)

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


SCROLL_BACK = """async () => {
    const list = document.getElementById("messages");
    const scroller = document.getElementById("scroller");
    const first = () => list.querySelector(".message")?.dataset.id;
    const before = first();
    const ends = new Promise((resolve) => setTimeout(resolve, 1000));
    const moved = new Promise((resolve) => {
        const observer = new MutationObserver(() => first() !== before && (observer.disconnect(), resolve()));
        observer.observe(list, { childList: true });
    });
    scroller.scrollTop = 1;
    scroller.scrollTop = 0;
    await Promise.race([moved, ends]);
}"""
"""Scroll to the top and wait up to a second for earlier messages."""


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start a browser; if none is installed, fail and say what to do."""
    path = find()
    assert path, "no Chromium: run `make chromium`, or name one in CHATWS_CHROMIUM"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        await browser.close()


async def arrive(
    browser: Browser,
    address: str,
    *,
    width: int = 1200,
    scheme: Literal["light", "dark"] = "light",
    locale: str = "en-US",
) -> "Person":
    """Return a new person with a window of their own; a window narrower than 500 pixels has a touch screen."""
    context = await browser.new_context(
        viewport={"width": width, "height": 780}, color_scheme=scheme, locale=locale, has_touch=width < 500
    )
    context.set_default_timeout(LIMIT * 1_000)
    return Person(await context.new_page(), address)


class Person:
    """A user of the chat page. ``complaints`` collects console messages, violations of the content policy among them,
    and frames that do not match the AsyncAPI document."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.complaints: list[str] = []
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("websocket", self._check)

    async def log_in(self, name: str, password: str = "demo", *, stay: bool = False) -> None:
        """Open the page and log in; ``stay``: in all tabs."""
        await self.page.goto(self.address)
        await self.fill_in(name, password, stay=stay)

    async def fill_in(self, name: str, password: str = "demo", *, stay: bool = False) -> None:
        """Fill in the login form on the screen."""
        await self.page.get_by_label("Stay logged in").set_checked(stay)
        await self.page.get_by_label("Name").fill(name)
        await self.page.get_by_label("Password").fill(password)
        await self.page.get_by_role("button", name="Log in").click()

    async def open(self, group: str) -> None:
        await self.page.locator("#groups button", has_text=group).click()

    async def say(self, text: str) -> None:
        await self.page.get_by_label("Message", exact=True).fill(text)
        await self.page.keyboard.press("Enter")

    async def is_online(self) -> None:
        await expect(self.page.locator("#state[data-state=online]")).to_be_attached()

    async def log_out(self) -> None:
        await self.page.get_by_role("button", name="Settings").click()
        await self.page.get_by_role("button", name="Log out").click()
        await expect(self.page.get_by_role("button", name="Log in")).to_be_visible()

    def message(self, text: str) -> Locator:
        """Return the row of a message of the open group."""
        return self.page.locator("#messages .message", has=self.page.get_by_text(text, exact=True))

    async def scroll_to_top(self, until: str, seconds: float = 120) -> None:
        """Scroll back, page by page, until the first message of the history is visible."""
        async with asyncio.timeout(seconds):
            while not await self.message(until).count():
                await self.page.evaluate(SCROLL_BACK)
        await self.page.evaluate(SCROLL_BACK)

    async def texts(self) -> list[str]:
        return await self.page.locator("#messages .text").all_text_contents()

    def _check(self, socket: WebSocket) -> None:
        exchange = Exchange(self.complaints)
        socket.on("framesent", exchange.sent)
        socket.on("framereceived", exchange.received)

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.text} {message.location.get('url', '')}")
