"""Check a conversation on the chat page: messages are shown once, in order, by day and sender."""

import asyncio
import json
from pathlib import Path

import pytest
from playwright.async_api import Browser, WebSocketRoute, expect

from tests.support.browser import arrive
from tests.support.chat import Chat
from tests.support.stack import Gateway, Stack
from tests.support.waiting import LIMIT

pytestmark = pytest.mark.browser


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
    async with asyncio.timeout(LIMIT):
        while late not in order:
            await asyncio.sleep(0.01)
    own = alice.page.locator("#messages .mine", has_text=f"late {late}")
    await expect(own).to_have_count(1)
    await expect(alice.page.locator(".pending")).to_have_count(0)
    assert order[0] != late, "the other frame came first"


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
