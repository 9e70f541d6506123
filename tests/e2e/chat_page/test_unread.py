"""Check what the chat page counts as unread, and who has read a message."""

import asyncio
import json

import pytest
from playwright.async_api import Browser, Route, WebSocketRoute, expect

from chatws.chat_service.pb import chat_pb2 as pb
from chatws.chat_service.pb import ext_pb2 as ext
from tests.support.browser import Person, arrive
from tests.support.chat import Chat
from tests.support.client import bearer, connect
from tests.support.proxy import Proxy
from tests.support.stack import Gateway, Stack
from tests.support.waiting import LIMIT

pytestmark = pytest.mark.browser


async def test_read_state_survives_reload_and_reconnect(
    browser: Browser, gateway: Gateway, stack: Stack, chat: Chat
) -> None:
    ids = stack.demo_users()
    group = await chat.group(ids["alice"], ids["bob"], name="Ticks")
    await chat.say(group, ids["alice"], "who reads this?")
    async with Proxy(gateway.port) as proxy:
        alice = await arrive(browser, f"http://127.0.0.1:{proxy.port}")
        bob = await arrive(browser, gateway.http)
        for person, name in ((alice, "alice"), (bob, "bob")):
            await person.log_in(name)
            await person.open("Ticks")
        await expect(alice.message("who reads this?").locator(".tick.read")).to_be_attached()
        await alice.page.reload()
        await alice.open("Ticks")
        await expect(alice.message("who reads this?").locator(".tick.read")).to_be_attached()

        await bob.page.locator("#back").evaluate("back => back.click()")
        await alice.say("and this?")
        row = bob.page.locator("#groups button", has_text="Ticks")
        await expect(row.locator(".unread")).to_be_visible()
        await expect(alice.message("and this?").locator(".tick:not(.read)")).to_be_attached()
        proxy.drop_silently()
        proxy.reset()
        await expect(alice.page.locator("#banner")).to_be_visible()
        await bob.open("Ticks")
        await expect(row.locator(".unread")).to_have_count(0)
        await told(chat, group, ids["bob"], "and this?")
        proxy.restore()
        proxy.reset()
        await expect(alice.message("and this?").locator(".tick.read")).to_be_attached(timeout=30_000)


async def test_own_message_marks_earlier_messages_read(
    browser: Browser, gateway: Gateway, stack: Stack, chat: Chat
) -> None:
    ids = stack.demo_users()
    group = await chat.group(ids["alice"], ids["bob"], name="From a phone")
    await chat.say(group, ids["bob"], "a question")
    await chat.say(group, ids["alice"], "answered elsewhere")
    alice = await arrive(browser, gateway.http)
    await alice.log_in("alice")
    row = alice.page.locator("#groups button", has_text="From a phone")
    await expect(row.locator(".unread")).to_contain_text("1 unread")
    await alice.open("From a phone")
    await expect(row.locator(".unread")).to_have_count(0)
    request = ext.GetUserCursorsReq(user_id=ids["alice"], group_ids=[group])
    async with asyncio.timeout(LIMIT):
        while [one.unread_count for one in (await chat.ext.GetUserCursors(request)).cursors] != [0]:
            await asyncio.sleep(0.02)

    # the page is hidden, and the phone continues to read
    await alice.page.evaluate("Object.defineProperty(document, 'hidden', { get: () => true })")
    await chat.say(group, ids["bob"], "another one", f"{group}-another")
    await expect(row.locator(".unread")).to_contain_text("1 unread")
    phone = await connect(gateway.ws, additional_headers=bearer(ids["alice"]))
    await phone.ask("mark_read", {"group_id": group, "message_id": f"{group}-another"})
    await expect(row.locator(".unread")).to_have_count(0)
    await phone.close()


async def told(chat: Chat, group: str, user: int, text: str) -> None:
    """Return once the chat service has this read cursor."""
    newest = (await chat.stub.GetMessageHistory(pb.GetMessageHistoryReq(group_id=group, limit=1))).messages[0]
    assert newest.content == text
    request = ext.GetGroupCursorsReq(group_id=group, user_ids=[user])
    async with asyncio.timeout(LIMIT):
        while [one.message_id for one in (await chat.ext.GetGroupCursors(request)).cursors] != [newest.message_id]:
            await asyncio.sleep(0.02)


async def test_notifications_are_counted_read_and_stay_read(
    browser: Browser, gateway: Gateway, stack: Stack, chat: Chat
) -> None:
    user = stack.demo_users()["carol"]
    for title in ("Roof open until nine", "New lamps"):
        await chat.notify(user, title)
    carol = await arrive(browser, gateway.http)
    bell, tray = carol.page.locator("#bell-count"), carol.page.locator("#tray")
    await carol.log_in("carol")
    await expect(bell).to_have_text("2")
    await carol.is_online()
    await chat.notify(user, "Water is off on Friday")
    await expect(bell).to_have_text("3")

    second = Person(await carol.page.context.new_page(), carol.address)
    await second.log_in("carol")
    await expect(second.page.locator("#bell-count")).to_have_text("3")
    await carol.page.get_by_role("button", name="Notifications, 3 unread").click()
    await expect(tray.locator("strong")).to_have_text(["Water is off on Friday", "New lamps", "Roof open until nine"])
    await tray.get_by_role("button", name="New lamps").click()
    await expect(bell).to_have_text("2")
    await expect(second.page.locator("#bell-count")).to_have_text("2")
    await carol.page.keyboard.press("Escape")
    await expect(tray).to_be_hidden()

    await carol.page.reload()
    await expect(bell).to_have_text("2")
    await carol.page.get_by_role("button", name="Notifications, 2 unread").click()
    await expect(tray.locator(".is-unread strong")).to_have_text(["Water is off on Friday", "Roof open until nine"])
    await tray.get_by_role("button", name="Mark all read").click()
    await expect(bell).to_be_hidden()
    await expect(tray.locator(".is-unread")).to_have_count(0)
    async with asyncio.timeout(LIMIT):
        while (await chat.stub.GetUnreadCount(pb.GetUnreadCountReq(user_id=user))).unread_count:
            await asyncio.sleep(0.02)
    await carol.page.reload()
    await carol.is_online()
    await expect(bell).to_be_hidden()
    assert carol.complaints == []


async def test_message_in_another_group_is_counted(browser: Browser, gateway: Gateway) -> None:
    alice, carol = await arrive(browser, gateway.http), await arrive(browser, gateway.http)
    await alice.log_in("alice")
    await alice.open("Board games")
    await expect(alice.page.locator("#messages .message").first).to_be_visible()
    await alice.open("Lunch")
    await carol.log_in("carol")
    await carol.open("Board games")
    await carol.say("Who brings dice?")
    row = alice.page.locator("#groups button", has_text="Board games")
    await expect(row.locator(".unread")).to_contain_text("1 unread")
    await expect(row).to_contain_text("Carol: Who brings dice?")


class LateMessages:
    """Pass the server's frames on to a page; while ``holds`` is set, keep its new messages back."""

    def __init__(self) -> None:
        self.holds = False
        self.late: list[tuple[WebSocketRoute, str | bytes]] = []
        self.shown: list[str] = []

    def serve(self, page_side: WebSocketRoute) -> None:
        """Connect a page to the server through this object."""
        server_side = page_side.connect_to_server()

        def pass_on(text: str | bytes) -> None:
            frame = json.loads(text)
            if self.holds and frame["type"] == "new_message":
                self.late.append((page_side, text))
            else:
                page_side.send(text)
                self.shown.append(frame["data"].get("content"))

        server_side.on_message(pass_on)

    async def until_late(self) -> None:
        """Return once a message is kept back."""
        async with asyncio.timeout(LIMIT):
            while not self.late:
                await asyncio.sleep(0.02)

    async def until_shown(self, text: str) -> None:
        """Return once a text was passed on to the page."""
        async with asyncio.timeout(LIMIT):
            while text not in self.shown:
                await asyncio.sleep(0.02)

    def release(self) -> None:
        """Pass on the messages that were kept back."""
        self.holds = False
        for page_side, text in self.late:
            page_side.send(text)


async def test_unread_message_is_counted_once(browser: Browser, stack: Stack, gateway: Gateway, chat: Chat) -> None:
    """Count a message once when the service counts it first, and when it arrives live first."""
    ids = stack.demo_users()
    group = await chat.group(ids["bob"], ids["carol"], name="Counted")
    carol = await arrive(browser, gateway.http)
    messages, holds_answers, asked = LateMessages(), asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        answer = await route.fetch()
        if holds_answers.is_set():
            asked.set()
            await messages.until_shown("two")
        await route.fulfill(response=answer)

    await carol.page.route_web_socket("**/ws", messages.serve)
    await carol.page.route("**/api/users/*/groups?*", hold)
    await carol.log_in("carol")
    row = carol.page.locator("#groups button", has_text="Counted")
    await expect(row).to_be_visible()

    # the service counts the message before it arrives live
    messages.holds = True
    await chat.say(group, ids["bob"], "one")
    await messages.until_late()
    await chat.group(ids["bob"], ids["carol"], name="Makes her ask")
    await expect(row.locator(".unread")).to_contain_text("1 unread")
    messages.release()
    await chat.say(group, ids["bob"], "one more")
    await expect(row).to_contain_text("Bob: one more")
    await expect(row.locator(".unread")).to_contain_text("2 unread")

    # a message arrives live before an older answer of the service, which does not count it
    holds_answers.set()
    await chat.group(ids["bob"], ids["carol"], name="And again")
    await asked.wait()
    await chat.say(group, ids["bob"], "two")
    await expect(row).to_contain_text("Bob: two")
    await expect(row.locator(".unread")).to_contain_text("3 unread")
    await expect(carol.page.locator("#groups button", has_text="And again")).to_be_visible()
    await expect(row.locator(".unread")).to_contain_text("3 unread")
    await expect(row).to_contain_text("Bob: two")
