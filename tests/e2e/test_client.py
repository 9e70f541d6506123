"""Check chatws.js in a real Chromium, in a page and in a worker, under the page's content policy."""

import pytest
from playwright.async_api import Browser, Page, expect

from tests.e2e.conftest import EXPECT_MS
from tests.support.chat import Chat, new_user
from tests.support.client import make_token
from tests.support.proxy import Proxy
from tests.support.stack import Gateway

pytestmark = pytest.mark.browser

MODULE = "/static/chatws/client/chatws.js"
BEGIN = """async ([module, token]) => {
    const { ChatClient } = await import(module);
    Math.random = () => 1;
    window.chat = new ChatClient("/ws", { token, firstWait: 60 });
    window.states = [];
    window.texts = [];
    chat.listen("state", ({ state }) => states.push(state));
    chat.listen("new_message", ({ content }) => texts.push(content));
    const ready = new Promise((resolve) => chat.listen("ready", resolve));
    chat.connect();
    await ready;
}"""
IN_A_WORKER = """async ([module, token, group]) => {
    const { ChatClient } = await import(module);
    const chat = new ChatClient("/ws", { token });
    const heard = new Promise((resolve) => chat.listen("new_message", resolve));
    chat.connect();
    const { message_id } = await chat.send(group, "from a worker");
    const message = await heard;
    return [typeof window, message.content, message.message_id === message_id];
}"""


async def state_is(page: Page, state: str) -> None:
    await page.wait_for_function("(state) => chat.state === state", arg=state, timeout=EXPECT_MS)


async def test_client_reconnects_when_the_network_returns(browser: Browser, gateway: Gateway, chat: Chat) -> None:
    """Wait a minute between attempts: only the browser's `online` event makes the client hurry."""
    user = new_user()
    group = await chat.group(user)
    async with Proxy(gateway.port) as proxy:
        page = await (await browser.new_context()).new_page()
        await page.goto(f"http://127.0.0.1:{proxy.port}/health")
        await page.evaluate(BEGIN, [MODULE, make_token(user)])
        await page.context.set_offline(True)
        proxy.reset()
        await state_is(page, "waiting")
        await chat.say(group, user, "meanwhile")
        await page.evaluate("Math.random = () => 0")
        assert await page.evaluate("chat.state") == "waiting"
        await page.context.set_offline(False)
        await state_is(page, "online")
        await page.wait_for_function("() => texts.length === 1", timeout=EXPECT_MS)
        assert await page.evaluate("texts") == ["meanwhile"]


async def test_client_works_in_a_worker(browser: Browser, gateway: Gateway, chat: Chat) -> None:
    user = new_user()
    group = await chat.group(user)
    page = await (await browser.new_context()).new_page()
    await page.goto(f"{gateway.http}/")
    async with page.expect_worker() as starting:
        await page.evaluate("(module) => { window.worker = new Worker(module, { type: 'module' }); }", MODULE)
    worker = await starting.value
    answer = await worker.evaluate(IN_A_WORKER, [MODULE, make_token(user), group])
    assert answer == ["undefined", "from a worker", True]
    assert await chat.history(group) == ["from a worker"]


async def test_visible_page_checks_its_connection(browser: Browser, gateway: Gateway) -> None:
    async with Proxy(gateway.port) as proxy:
        page = await (await browser.new_context()).new_page()
        await page.goto(f"http://127.0.0.1:{proxy.port}/health")
        await page.evaluate(BEGIN, [MODULE, make_token(new_user())])
        proxy.drop_silently()
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await state_is(page, "waiting")
        proxy.restore()
        await page.evaluate("Math.random = () => 0")
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await state_is(page, "online")
        await expect(page.locator("body")).to_have_text("OK")
