"""Check login, logout and several tabs on the chat page."""

import asyncio
import json

import pytest
from playwright.async_api import Browser, Route, WebSocketRoute, expect

from tests.support.browser import Person, arrive
from tests.support.chat import Chat
from tests.support.client import make_token
from tests.support.stack import Gateway, Stack

pytestmark = pytest.mark.browser


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
    await expect(first.page.get_by_text("This is the beginning of the conversation.")).to_be_visible()
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


async def test_page_works_below_a_path(browser: Browser, stack: Stack) -> None:
    gateway = stack.start_gateway(CHATWS_URL_PREFIX="/chat")
    try:
        alice = await arrive(browser, f"{gateway.http}/chat/")
        await alice.log_in("alice")
        await alice.is_online()
        await expect(alice.page.locator("#groups button", has_text="Lunch")).to_be_visible()
        stored = await alice.page.evaluate("Object.keys(sessionStorage)")
        assert all(name.startswith("chatws:/chat/") for name in stored), stored
    finally:
        gateway.kill()
