"""Check the chat page in a real Chromium with the whole chat."""

import asyncio
import json
from pathlib import Path

import pytest
from playwright.async_api import Browser, Route, WebSocketRoute, expect

from chatws.chat_service.pb import chat_pb2 as pb
from chatws.chat_service.pb import ext_pb2 as ext
from tests.support.browser import Person, arrive
from tests.support.chat import Chat
from tests.support.client import bearer, connect, make_token
from tests.support.proxy import Proxy
from tests.support.stack import Gateway, Stack

pytestmark = pytest.mark.browser

SECONDS = 60
"""Seconds to wait for an expected event; it only catches a hang."""


async def test_two_people_talk_to_each_other(browser: Browser, gateway: Gateway) -> None:
    alice, bob = await arrive(browser, gateway.http), await arrive(browser, gateway.http)
    for person, name in ((alice, "alice"), (bob, "bob")):
        await person.log_in(name)
        await person.is_online()
        await person.open("Lunch")
        await expect(person.page.get_by_text("Noodles or soup today?")).to_be_visible()

    await alice.say("Is the door open?")
    await expect(bob.page.locator("#messages").get_by_text("Is the door open?")).to_have_count(1)
    await bob.say("Yes, <b>come</b> & sit.")
    await expect(alice.page.locator("#messages").get_by_text("Yes, <b>come</b> & sit.")).to_have_count(1)
    await alice.say("On my way")
    await expect(bob.page.locator("#messages").get_by_text("On my way")).to_be_visible()

    talk = ["Is the door open?", "Yes, <b>come</b> & sit.", "On my way"]
    for person in (alice, bob):
        assert (await person.texts())[-3:] == talk
        await expect(person.page.locator(".pending, .failed")).to_have_count(0)
        assert person.complaints == []
    own = alice.page.locator("#messages .mine", has_text="On my way")
    await expect(own).to_have_count(1)

    await alice.page.reload()
    await alice.is_online()
    await alice.open("Lunch")
    await expect(alice.page.locator("#messages").get_by_text("On my way")).to_have_count(1)


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
    async with asyncio.timeout(SECONDS):
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
    async with asyncio.timeout(SECONDS):
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
    async with asyncio.timeout(SECONDS):
        while (await chat.stub.GetUnreadCount(pb.GetUnreadCountReq(user_id=user))).unread_count:
            await asyncio.sleep(0.02)
    await carol.page.reload()
    await carol.is_online()
    await expect(bell).to_be_hidden()
    assert carol.complaints == []


@pytest.mark.parametrize("late", ["ack", "new_message"])
async def test_own_message_is_shown_once_in_either_frame_order(browser: Browser, gateway: Gateway, late: str) -> None:
    """Deliver the two frames of one message in the chosen order: the late one waits for the other."""
    alice = await arrive(browser, gateway.http)
    order: list[str] = []

    async def between(page_side: WebSocketRoute) -> None:
        server_side = page_side.connect_to_server()
        held: list[str | bytes] = []

        def pass_on(frame: str | bytes) -> None:
            kind = json.loads(frame)["type"]
            if kind == late:
                held.append(frame)
            else:
                page_side.send(frame)
            if kind == {"ack": "new_message", "new_message": "ack"}[late]:
                order.append(kind)
            if held and order:
                page_side.send(held.pop())
                order.append(late)

        server_side.on_message(pass_on)

    await alice.page.route_web_socket("**/ws", between)
    await alice.log_in("alice")
    await alice.open("Board games")
    await expect(alice.page.locator("#messages .text").first).to_be_visible()
    await alice.say(f"late {late}")
    await expect(alice.page.locator("#messages .mine time").last).to_be_visible()
    async with asyncio.timeout(SECONDS):
        while late not in order:
            await asyncio.sleep(0.01)
    own = alice.page.locator("#messages .mine", has_text=f"late {late}")
    await expect(own).to_have_count(1)
    await expect(alice.page.locator(".pending")).to_have_count(0)
    assert order[0] != late, "the other frame came first"


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


async def test_wrong_password_is_reported(browser: Browser, gateway: Gateway) -> None:
    person = await arrive(browser, gateway.http)
    await person.log_in("alice", "wrong")
    await expect(person.page.get_by_role("alert").first).to_have_text("Name or password is wrong.")
    await person.page.route("**/api/token/", lambda route: route.abort())
    await person.log_in("alice")
    error = person.page.locator("#login-error")
    await expect(error).to_have_text("You could not be logged in: the server can't be reached.")


async def test_token_is_pasted_without_the_demo_login(browser: Browser, stack: Stack) -> None:
    gateway = stack.start_gateway(CHATWS_DEMO_LOGIN="0")
    try:
        alice = await arrive(browser, gateway.http)
        await alice.page.goto(alice.address)
        for token in (make_token(stack.demo_users()["alice"]) + "x", make_token(stack.demo_users()["alice"])):
            await alice.page.get_by_label("Token").fill(token)
            await alice.page.get_by_role("button", name="Log in").click()
            if token.endswith("x"):
                await expect(alice.page.locator("#login-error")).to_have_text("This login is not valid.")
        await alice.is_online()
        await expect(alice.page.locator("#groups button", has_text="Lunch")).to_be_visible()
    finally:
        gateway.kill()


async def test_logout_during_a_token_request_ends_the_socket(browser: Browser, gateway: Gateway) -> None:
    person = await arrive(browser, gateway.http)
    sockets: list[WebSocketRoute] = []

    def pass_on(page_side: WebSocketRoute) -> None:
        sockets.append(page_side)
        page_side.connect_to_server()

    asked: asyncio.Queue[Route] = asyncio.Queue()
    await person.page.route_web_socket("**/ws", pass_on)
    await person.page.route("**/api/token/refresh/", asked.put)
    await person.log_in("bob")
    await person.is_online()
    await person.open("Lunch")
    await sockets[0].close(code=4401)
    refresh = await asked.get()
    await person.log_out()
    async with person.page.expect_response("**/api/token/refresh/"):
        await refresh.continue_()
    assert await person.page.evaluate("sessionStorage.length") == 0
    await person.page.reload()
    await expect(person.page.get_by_role("button", name="Log in")).to_be_visible()


async def test_messages_sent_during_an_outage_are_fetched(browser: Browser, tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    try:
        gateway = stack.start()
        port = int(gateway.http.rpartition(":")[2])
        chat = Chat(stack.rpc_target)
        [[group]] = stack.query("SELECT group_id FROM reference_chatgroup WHERE name = 'Lunch'")
        [[bob]] = stack.query("SELECT id FROM auth_user WHERE username = 'bob'")
        alice = await arrive(browser, gateway.http)
        await alice.log_in("alice")
        await alice.open("Lunch")
        await chat.say(group, bob, "before")
        await expect(alice.page.locator("#messages").get_by_text("before", exact=True)).to_be_visible()

        gateway.kill()
        await expect(alice.page.locator("#banner")).to_contain_text("kept in this tab")
        for number in range(60):
            await chat.say(group, bob, f"missed {number}")
        await alice.say("written while away")
        await asyncio.to_thread(stack.start_gateway, port=port)
        await alice.is_online()
        await expect(alice.page.locator(".pending, .failed")).to_have_count(0)
        await expect(alice.page.locator("#messages").get_by_text("missed 59")).to_be_visible()
        await chat.say(group, bob, "after")
        await expect(alice.page.locator("#messages").get_by_text("after", exact=True)).to_be_visible()

        texts = await alice.texts()
        ours = [text for text in texts if text == "before" or text.startswith("missed") or text == "after"]
        assert ours == ["before", *(f"missed {number}" for number in range(60)), "after"]
        assert texts.count("written while away") == 1
        await chat.close()
    finally:
        stack.stop()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_page_fits_a_phone(browser: Browser, gateway: Gateway, scheme: str) -> None:
    person = await arrive(browser, gateway.http, width=360, scheme="dark" if scheme == "dark" else "light")
    await person.log_in("bob")
    await person.open("Hiking on Saturday")
    await expect(person.page.get_by_label("Message", exact=True)).to_be_visible()
    assert await person.page.evaluate("document.documentElement.scrollWidth") <= 360
    await person.page.get_by_role("button", name="Back to the groups").click()
    await expect(person.page.locator("#groups button", has_text="Hiking on Saturday")).to_be_in_viewport()


async def test_failed_group_list_is_retried(browser: Browser, gateway: Gateway, stack: Stack, chat: Chat) -> None:
    ids = stack.demo_users()
    bob = await arrive(browser, gateway.http, width=360)
    await bob.log_in("bob")
    await bob.open("Lunch")
    await expect(bob.page.locator("#messages .message").first).to_be_visible()
    await bob.page.route("**/api/users/*/groups?*", lambda route: route.fulfill(status=503, json={}), times=1)
    await chat.group(ids["alice"], ids["bob"], name="Brand new")
    notice = bob.page.locator("#notice")
    await expect(notice).to_have_text("Could not be loaded: the service is away")
    await expect(notice).to_be_in_viewport()
    await expect(bob.page.locator("#groups button", has_text="Brand new")).to_be_attached(timeout=15_000)
    await expect(notice).to_be_hidden()


async def test_admin_pages_follow_the_content_policy(browser: Browser, gateway: Gateway) -> None:
    person = await arrive(browser, gateway.http)
    page = person.page
    await page.goto(f"{gateway.http}/admin/")
    await page.get_by_label("Username").fill("admin")
    await page.get_by_label("Password").fill("demo")
    await page.get_by_role("button", name="Log in").click()
    await page.goto(f"{gateway.http}/admin/realtime/connectionrecord/")
    await expect(page.get_by_role("heading", name="Select connection to view")).to_be_visible()
    assert person.complaints == []


EXTENSIONS = ("history", "typing", "presence", "mark_read")


async def test_server_without_extensions_loses_only_those(browser: Browser, gateway: Gateway) -> None:
    alice, bob = await arrive(browser, gateway.http), await arrive(browser, gateway.http)
    asked: list[str] = []

    async def between(page_side: WebSocketRoute) -> None:
        server_side = page_side.connect_to_server()

        def pass_on(text: str | bytes) -> None:
            frame = json.loads(text)
            if frame["type"] not in EXTENSIONS:
                server_side.send(text)
                return
            asked.append(frame["type"])
            error = {"code": 501, "message": "not here"}
            page_side.send(
                json.dumps({"type": "error", "message_id": frame["message_id"], "timestamp": 1, "data": error})
            )

        page_side.on_message(pass_on)

    await alice.page.route_web_socket("**/ws", between)
    await alice.log_in("alice")
    await bob.log_in("bob")
    for group in ("Lunch", "Hiking on Saturday", "Lunch"):
        await alice.open(group)
        await expect(alice.page.locator("#messages .message").first).to_be_visible()
    await bob.open("Lunch")
    await bob.say("Still there?")
    await expect(alice.message("Still there?")).to_be_visible()
    refused = [*asked]  # frames arrive in order, so the page has received these errors
    for _ in range(2):
        await alice.page.get_by_label("Message", exact=True).press_sequentially("Yes")
        await alice.page.keyboard.press("Enter")
        await expect(alice.page.locator(".pending")).to_have_count(0)
    await expect(bob.message("Yes").last).to_be_visible()
    await expect(alice.page.locator("#notice, #trouble").filter(visible=True)).to_have_count(0)
    later = asked[len(refused) :]
    assert not set(refused) & set(later)
    assert len(later) == len(set(later)), "what was refused is asked for no more"


async def test_messages_are_grouped_by_day_and_sender(
    browser: Browser, stack: Stack, gateway: Gateway, chat: Chat
) -> None:
    ids = stack.demo_users()
    group = await chat.group(ids["bob"], ids["alice"], name="Days")
    stack.fill(group, ids["bob"], 1_500)  # a minute apart
    await chat.say(group, ids["alice"], "at last", f"{group}-last")
    alice = await arrive(browser, gateway.http)
    await alice.log_in("alice")
    await alice.page.set_viewport_size({"width": 1200, "height": 6_000})
    await alice.open("Days")
    await expect(alice.page.locator("#messages .message").nth(60)).to_be_attached()  # more than a page, unrequested
    await alice.page.set_viewport_size({"width": 1200, "height": 780})
    await expect(alice.message("filled 1499")).to_be_visible()
    first = alice.page.locator("#messages .message.first:not(.mine) .sender")
    assert await first.last.text_content() == "Bob"
    assert await alice.page.locator("#messages .message:not(.mine)").count() > 3 * await first.count()
    await alice.scroll_to_top(until="filled 0")
    days = alice.page.locator("#messages .separator.day")
    assert await days.count() >= 1
    await chat.say(group, ids["alice"], "from her phone", f"{group}-phone")
    await expect(alice.page.locator("#groups button", has_text="Days")).to_contain_text("from her phone")
    await expect(alice.message("filled 0")).to_be_in_viewport()
    await expect(alice.page.get_by_role("button", name="Jump to newest")).to_be_visible()
    await alice.page.get_by_label("Messages", exact=True).focus()
    await alice.page.keyboard.press("End")
    await expect(alice.message("from her phone")).to_be_in_viewport()
    await expect(days.last).to_have_text("Today")


async def test_tabs_share_login_read_state_and_logout(
    browser: Browser, stack: Stack, gateway: Gateway, chat: Chat
) -> None:
    ids = stack.demo_users()
    group = await chat.group(ids["bob"], ids["carol"], name="Tabs")
    carol = await arrive(browser, gateway.http)
    await carol.log_in("carol", stay=True)
    await carol.is_online()
    second = Person(await carol.page.context.new_page(), carol.address)
    await second.page.goto(second.address)
    await second.is_online()
    await chat.say(group, ids["bob"], "to both", f"{group}-1")
    for tab in (carol, second):
        await expect(tab.page.locator("#groups button", has_text="Tabs").locator(".unread")).to_be_visible()
    await second.open("Tabs")
    await expect(second.message("to both")).to_be_visible()
    await expect(carol.page.locator("#groups button", has_text="Tabs").locator(".unread")).to_have_count(0)
    await carol.open("Tabs")
    await carol.page.get_by_role("button", name="Send an image").click()
    await expect(carol.page.get_by_role("dialog", name="Send an image")).to_be_visible()
    await second.log_out()
    await expect(carol.page.get_by_role("button", name="Log in")).to_be_visible()
    await expect(carol.page.locator("dialog")).to_have_count(2)
    await expect(carol.page.locator("dialog[open]")).to_have_count(0)


async def test_second_user_in_a_tab_sends_nothing_of_the_first(
    browser: Browser, stack: Stack, gateway: Gateway, chat: Chat
) -> None:
    ids = stack.demo_users()
    group = await chat.group(ids["alice"], ids["bob"], name="Not by bob")
    first = await arrive(browser, gateway.http)
    second = Person(await first.page.context.new_page(), first.address)
    sockets: list[WebSocketRoute] = []

    def pass_on(page_side: WebSocketRoute) -> None:
        """Drop the messages sent on the first connection."""
        server_side = page_side.connect_to_server()
        sockets.append(page_side)

        def pass_one_on(text: str | bytes) -> None:
            if json.loads(text)["type"] != "send_message":
                server_side.send(text)

        if len(sockets) == 1:
            page_side.on_message(pass_one_on)

    await first.page.route_web_socket("**/ws", pass_on)
    await second.page.goto(second.address)
    await first.log_in("alice", stay=True)
    await first.open("Not by bob")
    await expect(first.page.get_by_text("This is where it began.")).to_be_visible()
    await first.say("I am alice")
    await expect(first.page.locator(".pending")).to_have_count(1)
    await second.fill_in("bob", stay=True)
    await second.is_online()
    await sockets[0].close(code=4501)
    await expect(first.page.locator("#me-name")).to_have_text("Bob")
    await first.open("Not by bob")
    await first.say("I am bob")
    await chat.until_said(group, "I am bob")
    assert await chat.history(group) == ["I am bob"]
    kept = await first.page.evaluate(f"sessionStorage.getItem('chatws:outbox:{ids['alice']}')")
    assert [frame["data"]["content"] for frame in json.loads(kept)] == ["I am alice"]


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
        async with asyncio.timeout(SECONDS):
            while not self.late:
                await asyncio.sleep(0.02)

    async def until_shown(self, text: str) -> None:
        """Return once a text was passed on to the page."""
        async with asyncio.timeout(SECONDS):
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


async def test_waiting_messages_are_sent_after_an_administrative_close(
    browser: Browser, stack: Stack, gateway: Gateway, chat: Chat
) -> None:
    ids = stack.demo_users()
    group = await chat.group(ids["alice"], name="Ended")
    alice = await arrive(browser, gateway.http)
    ended: list[WebSocketRoute] = []

    async def between(page_side: WebSocketRoute) -> None:
        server_side = page_side.connect_to_server()
        first = not ended
        ended.append(page_side)

        async def pass_on(text: str | bytes) -> None:
            if first and json.loads(text)["type"] == "send_message":
                await page_side.close(code=4403)
            else:
                server_side.send(text)

        page_side.on_message(pass_on)

    await alice.page.route_web_socket("**/ws", between)
    await alice.log_in("alice")
    await alice.open("Ended")
    await alice.say("not yet")
    await expect(alice.page.locator("#banner")).to_contain_text("Disconnected: closed by an administrator")
    await alice.page.get_by_role("button", name="Connect again").click()
    await alice.is_online()
    await expect(alice.page.locator(".pending, .failed")).to_have_count(0)
    assert await chat.history(group) == ["not yet"]


async def test_language_and_appearance_are_remembered(browser: Browser, gateway: Gateway) -> None:
    alice = await arrive(browser, gateway.http)
    await alice.log_in("alice")
    await alice.page.get_by_role("button", name="Settings").click()
    await alice.page.get_by_label("Appearance").select_option("dark")
    await alice.page.get_by_label("Language").select_option("zh-Hans")
    await expect(alice.page.get_by_role("button", name="退出登录")).to_be_visible()
    await alice.page.reload()
    await expect(alice.page.locator("#state")).to_have_text("在线")
    background = await alice.page.evaluate("getComputedStyle(document.body).color")
    assert background == "rgb(231, 234, 238)"
