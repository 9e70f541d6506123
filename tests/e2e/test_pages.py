"""Check the accessibility of the chat page: light and dark, small and large, English and Chinese.

With `CHATWS_SCREENSHOTS` set, screenshots are written into that folder (`make screenshots`: docs/images).
"""

import asyncio
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, WebSocketRoute, expect

from tests.e2e.test_day import give_picture
from tests.support.browser import Person, arrive
from tests.support.chat import Chat
from tests.support.client import bearer, connect
from tests.support.stack import Gateway, Stack

pytestmark = pytest.mark.browser

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
LOOKS = [
    (1440, "light", "en-US"), (1440, "dark", "zh-CN"), (360, "light", "zh-CN"), (360, "dark", "en-US"),
    (1440, "light", "zh-CN"), (1440, "dark", "en-US"), (360, "light", "en-US"), (360, "dark", "zh-CN"),
]  # fmt: skip
PICTURE_HERE = "(picture)"
TALK = {
    "en-US": ("Hiking on the ridge", [
        ("carol", "The forecast says sun until four."),
        ("bob", "Then let us take the early train. It leaves at 7:40."),
        ("bob", "Map: https://maps.example/ridge"),
        ("alice", PICTURE_HERE),
        ("alice", "Perfect. I bring tea and the cake."),
        ("carol", "I will wait at the platform, near the clock."),
    ]),
    "zh-CN": ("周末登山", [
        ("carol", "天气预报说下午四点前都是晴天。"),
        ("bob", "那我们坐早班火车吧，七点四十发车。"),
        ("bob", "地图：https://maps.example/ridge"),
        ("alice", PICTURE_HERE),
        ("alice", "太好了，我带茶和蛋糕。"),
        ("carol", "我在站台的钟旁边等你们。"),
    ]),
}  # fmt: skip
LUNCH = {"en-US": "Soup at the corner today?", "zh-CN": "今天去街角喝汤吗？"}
GROUP_ID = "SELECT group_id FROM reference_chatgroup WHERE name = %s"


async def without_barriers(page: Page) -> None:
    options = {"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]}  # the rest is megabytes
    results = await Axe().run(page, options=options)
    assert results.violations_count == 0, results.generate_report()


async def picture(page: Page, folder: Path, name: str) -> None:
    """Take a screenshot for a person to check."""
    await page.evaluate("document.activeElement.blur()")
    await page.mouse.move(0, 0)
    target = Path(os.environ.get("CHATWS_SCREENSHOTS", folder))
    await page.screenshot(path=target / f"{name}.png", animations="disabled")


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Start a chat with messages in both languages."""
    stack = Stack(tmp_path_factory.mktemp("town"))
    try:
        stack.start()
        asyncio.run(talk_in(stack))
        yield stack
    finally:
        stack.stop()


async def talk_in(stack: Stack) -> None:
    chat = Chat(stack.rpc_target)
    ids = stack.demo_users()
    for name, talk in TALK.values():
        group = await chat.group(ids["bob"], ids["alice"], ids["carol"], name=name)
        for number, (sender, text) in enumerate(talk):
            image = "https://images.example/ridge.svg" if text == PICTURE_HERE else ""
            await chat.say(group, ids[sender], "" if image else text, f"{group}-{number}", image_url=image)
        await chat.mark_read(ids["bob"], group, f"{group}-{len(talk) - 1}")
    await chat.close()


@pytest.mark.parametrize(("width", "scheme", "locale"), LOOKS)
async def test_every_view_is_accessible(
    browser: Browser, town: Stack, tmp_path: Path, width: int, scheme: Literal["light", "dark"], locale: str
) -> None:
    name, talk = TALK[locale]
    person = await arrive(browser, town.gateway.http, width=width, scheme=scheme, locale=locale)
    page = person.page
    await page.route("https://images.example/**", give_picture)
    await page.goto(person.address)
    await expect(page.locator("#login-form")).to_be_visible()
    assert await page.evaluate("document.documentElement.lang") == ("en" if locale == "en-US" else "zh-Hans")
    await without_barriers(page)
    suffix = f"{width}-{scheme}-{'en' if locale == 'en-US' else 'zh'}"
    ids = town.demo_users()
    [[group], [lunch]] = [town.query(GROUP_ID, called)[0] for called in (name, "Lunch")]
    bob = await connect(town.gateway.ws, additional_headers=bearer(ids["bob"]))
    await bob.expect("auth_success")
    await bob.ask("send_message", {"group_id": lunch, "msg_type": 1, "content": LUNCH[locale]})
    await log_in(person)
    event = {"notification_id": f"n-{suffix}", "type": "system", "title": name, "content": talk[0][1]}
    town.add_entry("notification:push", {"user_id": ids["alice"], "timestamp": int(time.time()), **event})
    await expect(page.locator("#bell-count")).to_be_visible()
    await expect(page.locator("#groups .unread").first).to_be_visible()
    await without_barriers(page)
    await person.open(name)
    await expect(page.locator("#messages .message")).to_have_count(len(talk))
    await expect(page.locator("#messages img")).to_be_visible()
    await expect(page.locator("#messages .tick.read")).to_have_count(2)
    await expect(page.locator("#room-presence")).to_have_text(re.compile("2.*3|3.*2"))
    await bob.send("typing", {"group_id": group, "typing": True})
    await expect(page.locator("#typing-text")).to_contain_text("Bob")
    await picture(page, tmp_path, f"chat-{suffix}")
    await without_barriers(page)
    await bob.close()
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    await page.locator("#image").click()
    await page.locator("#image-url").fill("https://images.example/ridge.svg")
    await expect(page.locator("#image-preview")).to_be_visible()
    await without_barriers(page)
    await page.keyboard.press("Escape")
    await page.locator("#messages img").click()
    await expect(page.locator("#large")).to_be_visible()
    await without_barriers(page)
    await page.keyboard.press("Escape")
    if width < 500:
        await page.locator("#back").click()
    for button in ("#bell", "#me-button"):
        await page.locator(button).click()
        await without_barriers(page)
        await page.keyboard.press("Escape")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_waiting_and_rejected_messages_are_accessible(
    browser: Browser, stack: Stack, gateway: Gateway, chat: Chat, scheme: Literal["light", "dark"]
) -> None:
    ids = stack.demo_users()
    group = await chat.group(ids["alice"], ids["bob"], name=f"Away in the {scheme}")
    stack.fill(group, ids["bob"], 60)
    alice = await arrive(browser, gateway.http, scheme=scheme)
    opened: list[WebSocketRoute] = []

    async def between(page_side: WebSocketRoute) -> None:
        """Reject the first message; close the connection at the second, and accept no other."""
        opened.append(page_side)
        if len(opened) > 1:
            return
        server_side = page_side.connect_to_server()
        error = {"code": 409, "message": "the chat group was disbanded"}

        async def pass_on(text: str | bytes) -> None:
            frame = json.loads(text)
            if frame["type"] != "send_message":
                server_side.send(text)
            elif frame["data"]["content"] == "refused":
                answer = {"type": "error", "message_id": frame["message_id"], "timestamp": 1, "data": error}
                page_side.send(json.dumps(answer))
            else:
                await page_side.close(code=4501)

        page_side.on_message(pass_on)

    await alice.page.route_web_socket("**/ws", between)
    await alice.log_in("alice")
    await alice.open(f"Away in the {scheme}")
    await expect(alice.message("filled 59")).to_be_visible()
    await alice.say("refused")
    await expect(alice.page.locator(".failed")).to_be_visible()
    await alice.say("waits")
    await expect(alice.page.locator(".pending")).to_be_visible()
    await expect(alice.page.locator("#banner")).to_contain_text("1 waiting to be sent")
    await without_barriers(alice.page)
    await alice.page.locator("#scroller").evaluate("scroller => (scroller.scrollTop = 500)")
    await expect(alice.page.get_by_role("button", name="Jump to newest")).to_be_visible()
    await without_barriers(alice.page)


async def log_in(person: Person) -> None:
    page = person.page
    await page.locator("input[name=username]").fill("alice")
    await page.locator("input[name=password]").fill("demo")
    await page.locator("#login-form button[type=submit]").click()
    await person.is_online()
    await expect(page.locator("#groups button").first).to_be_visible()


async def test_whole_page_works_by_keyboard(browser: Browser, stack: Stack, gateway: Gateway) -> None:
    person = await arrive(browser, gateway.http)
    page = person.page
    await page.goto(person.address)
    await page.keyboard.type("alice")
    await page.keyboard.press("Tab")
    await page.keyboard.type("demo")
    await page.keyboard.press("Enter")
    await person.is_online()
    await expect(page.locator("#groups button").first).to_be_visible()
    await tab_to(page, "#groups button")
    first = await page.evaluate("document.activeElement.dataset.id")
    await page.keyboard.press("ArrowDown")
    second = await page.evaluate("document.activeElement.dataset.id")
    assert second != first
    await page.keyboard.press("Enter")
    await expect(page.locator("#text")).to_be_focused()
    await page.keyboard.type("by hand")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("and again")
    committed = "new KeyboardEvent('keydown', { key: 'Enter', keyCode: 229, bubbles: true })"
    await page.evaluate(f"document.getElementById('text').dispatchEvent({committed})")
    await expect(page.locator("#text")).to_have_value("by hand\nand again")  # Enter of an input method in WebKit
    await page.keyboard.press("Enter")
    await expect(page.locator("#messages .mine .text").last).to_have_text("by hand\nand again")
    await tab_to(page, "#bell")
    await page.keyboard.press("Enter")
    await expect(page.locator("#tray")).to_be_visible()
    event = {"notification_id": "by-hand", "type": "system", "title": "A note", "content": "", "timestamp": 1}
    stack.add_entry("notification:push", {"user_id": stack.demo_users()["alice"], **event})
    note = page.locator("#notifications button", has_text="A note")
    await expect(note).to_be_visible()
    await tab_to(page, "[data-id='by-hand']")
    await page.keyboard.press("Enter")
    await expect(note).not_to_contain_text("unread")
    await expect(note).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.locator("#tray")).to_be_hidden()
    await expect(page.locator("#bell")).to_be_focused()


async def tab_to(page: Page, selector: str) -> None:
    for _ in range(60):
        await page.keyboard.press("Tab")
        if await page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"{selector} can't be reached by Tab")
