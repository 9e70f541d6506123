"""The chat page in a real Chromium, on the whole chat."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, WebSocketRoute, expect

from tests.support.browser import Person, chromium
from tests.support.chat import Chat
from tests.support.stack import Gateway, Stack

pytestmark = pytest.mark.browser


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


async def arrive(browser: Browser, gateway: Gateway, width: int = 1200, scheme: str = "light") -> Person:
    """A new person with a window of their own."""
    context = await browser.new_context(
        viewport={"width": width, "height": 780}, color_scheme="dark" if scheme == "dark" else "light"
    )
    return Person(await context.new_page(), f"{gateway.http}/")


async def test_two_people_talk_to_each_other(browser: Browser, gateway: Gateway) -> None:
    alice, bob = await arrive(browser, gateway), await arrive(browser, gateway)
    for person, name in ((alice, "alice"), (bob, "bob")):
        await person.log_in(name)
        await expect(person.page.locator("#state")).to_have_text("online")
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
    await expect(alice.page.locator("#state")).to_have_text("online")
    await alice.open("Lunch")
    await expect(alice.page.locator("#messages").get_by_text("On my way")).to_have_count(1)


@pytest.mark.parametrize("late", ["ack", "new_message"])
async def test_one_s_own_message_is_shown_once_whichever_frame_comes_first(
    browser: Browser, gateway: Gateway, late: str
) -> None:
    """The two frames of one message, in the order that the test chooses: the late one waits for the other."""
    alice = await arrive(browser, gateway)
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
    async with asyncio.timeout(5):
        while late not in order:
            await asyncio.sleep(0.01)
    own = alice.page.locator("#messages .mine", has_text=f"late {late}")
    await expect(own).to_have_count(1)
    await expect(alice.page.locator(".pending")).to_have_count(0)
    assert order[-1] == late


async def test_a_message_in_another_group_is_counted(browser: Browser, gateway: Gateway) -> None:
    alice, carol = await arrive(browser, gateway), await arrive(browser, gateway)
    await alice.log_in("alice")
    await alice.open("Lunch")
    await carol.log_in("carol")
    await carol.open("Board games")
    await carol.say("Who brings dice?")
    row = alice.page.locator("#groups button", has_text="Board games")
    await expect(row.locator(".unread")).to_have_text("1")
    await expect(row).to_contain_text("Carol: Who brings dice?")


async def test_a_wrong_password_is_said(browser: Browser, gateway: Gateway) -> None:
    person = await arrive(browser, gateway)
    await person.log_in("alice", "wrong")
    await expect(person.page.get_by_role("alert").first).to_have_text("Name or password is wrong.")


async def test_logging_out_ends_the_socket_and_forgets(browser: Browser, gateway: Gateway) -> None:
    person = await arrive(browser, gateway)
    await person.log_in("bob")
    await expect(person.page.locator("#state")).to_have_text("online")
    await person.open("Lunch")
    await person.page.get_by_role("button", name="Log out").click()
    await expect(person.page.get_by_role("button", name="Log in")).to_be_visible()
    assert await person.page.evaluate("sessionStorage.length") == 0
    await person.page.reload()
    await expect(person.page.get_by_role("button", name="Log in")).to_be_visible()


async def test_what_was_said_while_the_gateway_was_away_is_fetched(browser: Browser, tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    try:
        gateway = stack.start()
        port = int(gateway.http.rpartition(":")[2])
        chat = Chat(stack.rpc_target)
        [[group]] = stack.query("SELECT group_id FROM reference_chatgroup WHERE name = 'Lunch'")
        [[bob]] = stack.query("SELECT id FROM auth_user WHERE username = 'bob'")
        alice = await arrive(browser, gateway)
        await alice.log_in("alice")
        await alice.open("Lunch")
        await chat.say(group, bob, "before", "b-1")
        await expect(alice.page.locator("#messages").get_by_text("before", exact=True)).to_be_visible()

        gateway.kill()
        await expect(alice.page.locator("#state")).to_have_text("offline, trying again")
        for number in range(60):
            await chat.say(group, bob, f"missed {number}", f"b-m{number}")
        await alice.say("written while away")
        await asyncio.to_thread(stack.start_gateway, port=port)
        await expect(alice.page.locator("#state")).to_have_text("online", timeout=30_000)
        await expect(alice.page.locator(".pending, .failed")).to_have_count(0)
        await expect(alice.page.locator("#messages").get_by_text("missed 59")).to_be_visible()
        await chat.say(group, bob, "after", "b-2")
        await expect(alice.page.locator("#messages").get_by_text("after", exact=True)).to_be_visible()

        texts = await alice.texts()
        ours = [text for text in texts if text == "before" or text.startswith("missed") or text == "after"]
        assert ours == ["before", *(f"missed {number}" for number in range(60)), "after"]
        assert texts.count("written while away") == 1
        await chat.close()
    finally:
        stack.stop()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_fits_a_phone(browser: Browser, gateway: Gateway, scheme: str) -> None:
    person = await arrive(browser, gateway, 360, scheme)
    await person.log_in("bob")
    await person.open("Hiking on Saturday")
    await expect(person.page.get_by_label("Message", exact=True)).to_be_visible()
    assert await person.page.evaluate("document.documentElement.scrollWidth") <= 360
    await person.page.get_by_role("button", name="Back to the groups").click()
    await expect(person.page.locator("#groups button")).to_have_count(2)


async def test_the_admin_s_pages_keep_to_the_policy(browser: Browser, gateway: Gateway) -> None:
    person = await arrive(browser, gateway)
    page = person.page
    await page.goto(f"{gateway.http}/admin/")
    await page.get_by_label("Username").fill("admin")
    await page.get_by_label("Password").fill("demo")
    await page.get_by_role("button", name="Log in").click()
    await page.goto(f"{gateway.http}/admin/realtime/connectionrecord/")
    await expect(page.get_by_role("heading", name="Select connection to view")).to_be_visible()
    assert person.complaints == []
