"""Check the page's safety: messages stay text, unsent messages are kept, and image servers learn no reader."""

import json
import re
import subprocess

import pytest
from playwright.async_api import Browser, Request, Route, WebSocketRoute, expect

from config.env import BASE_DIR
from tests.e2e.test_day import give_picture
from tests.javascript.control import NODE
from tests.support.browser import arrive
from tests.support.chat import Chat
from tests.support.stack import Gateway, Stack

pytestmark = pytest.mark.browser

NASTY = [
    "<img src=x onerror=alert(1)>", "<script>alert(2)</script>", "javascript:alert(3)", "https://evil.example/\"onmouseover=alert(4)",
    "</li></ol><h1>gone</h1>", "&lt;b&gt; &amp;", "a\u202eb", "[x](javascript:alert(5))", "https://<b>.example",
]  # fmt: skip


async def test_message_text_is_never_markup(browser: Browser, stack: Stack, gateway: Gateway, chat: Chat) -> None:
    ids = stack.demo_users()
    group = await chat.group(ids["bob"], ids["alice"], name='<i>Nasty</i> & "co"')
    for number, text in enumerate(NASTY):
        await chat.say(group, ids["bob"], text, f"{group}-{number}")
    alice = await arrive(browser, gateway.http)
    dialogs: list[str] = []
    alice.page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    await alice.log_in("alice")
    await alice.open("<i>Nasty</i>")
    await expect(alice.page.locator("#messages .message")).to_have_count(len(NASTY))
    for number, text in enumerate(NASTY):
        await chat.say(group, ids["bob"], text, f"{group}-live-{number}")
    await expect(alice.page.locator("#messages .message")).to_have_count(2 * len(NASTY))
    assert await alice.texts() == [*NASTY, *NASTY]
    stack.add_entry("notification:push", {
        "user_id": ids["alice"], "notification_id": f"n-{group}", "type": "x", "title": NASTY[0], "content": NASTY[1],
        "timestamp": 1,
    })  # fmt: skip
    await expect(alice.page.locator("#bell-count")).to_be_visible()
    await alice.page.get_by_role("button", name="Notifications").click()
    await expect(alice.page.locator("#notifications strong").first).to_have_text(NASTY[0])
    assert await alice.page.locator("#chat h1").count() == 1
    assert await alice.page.locator("#messages :is(script, img, b, i)").count() == 0
    links = await alice.page.locator("#messages a").evaluate_all("all => all.map(a => [a.protocol, a.rel])")
    assert links
    assert all(link == ["https:", "noopener noreferrer"] for link in links)
    assert dialogs == []
    assert [said for said in alice.complaints if "/api/" not in said] == []


async def test_image_is_fetched_on_request_without_a_referrer(
    browser: Browser, stack: Stack, gateway: Gateway, chat: Chat
) -> None:
    ids = stack.demo_users()
    group = await chat.group(ids["bob"], ids["alice"], name="Pictures")
    alice, bob = await arrive(browser, gateway.http), await arrive(browser, gateway.http)
    fetched: list[Request] = []

    async def serve(route: Route) -> None:
        fetched.append(route.request)
        await give_picture(route)

    await alice.page.route("https://images.example/**", serve)
    await bob.page.route("https://images.example/**", give_picture)
    for person, name in ((alice, "alice"), (bob, "bob")):
        await person.log_in(name)
        await person.open("Pictures")
    await bob.page.locator("#image").click()
    asked: list[str] = []
    bob.page.on("request", lambda request: asked.append(request.url))
    await bob.page.locator("#image-url").press_sequentially("https://images.example/a.svg")
    await expect(bob.page.locator("#image-preview")).to_be_visible()
    previews = [url for url in asked if "images.example" in url]
    assert previews == ["https://images.example/a.svg"], "not one at each key"
    await bob.page.locator("#image-form button[type=submit]").click()
    await expect(alice.page.get_by_role("button", name="Show image from images.example")).to_be_visible()
    assert fetched == []
    async with alice.page.expect_response("https://images.example/a.svg"):
        await alice.page.get_by_role("button", name="Show image from images.example").click()
    await expect(alice.page.locator("#messages img")).to_be_visible()
    await expect(alice.page.locator("#messages .preview")).to_be_focused()
    assert len(fetched) == 1
    assert "referer" not in await fetched[0].all_headers()
    assert group


@pytest.mark.parametrize(
    "address", ["ftp://x/y.png", "javascript:alert(1)", "/static/x.png", "https://a b.example/x.png"]
)
async def test_address_that_is_not_an_image_is_not_sent(browser: Browser, gateway: Gateway, address: str) -> None:
    alice = await arrive(browser, gateway.http)
    await alice.log_in("alice")
    await alice.open("Lunch")
    await alice.page.locator("#image").click()
    await alice.page.locator("#image-url").fill(address)
    await alice.page.locator("#image-form button[type=submit]").click()
    await expect(alice.page.locator("#image-error")).to_have_text("This is not the address of an image on the web.")
    await expect(alice.page.locator("#image-dialog")).to_be_visible()


async def test_waiting_messages_survive_reload_and_are_sent_once(
    browser: Browser, stack: Stack, gateway: Gateway, chat: Chat
) -> None:
    ids = stack.demo_users()
    group = await chat.group(ids["alice"], ids["bob"], name="Reload")
    alice = await arrive(browser, gateway.http)
    opened: list[WebSocketRoute] = []

    async def between(page_side: WebSocketRoute) -> None:
        """Drop the ack and the message on the first connection."""
        opened.append(page_side)
        server_side = page_side.connect_to_server()
        if len(opened) == 1:
            lost = ("ack", "new_message")
            server_side.on_message(lambda text: None if json.loads(text)["type"] in lost else page_side.send(text))

    await alice.page.route_web_socket("**/ws", between)
    await alice.log_in("alice")
    await alice.open("Reload")
    await alice.say("stored, but she doesn't know")
    await chat.until_said(group, "stored, but she doesn't know")
    await alice.say("only written")
    await expect(alice.page.locator(".pending")).to_have_count(2)
    await alice.page.reload()
    await alice.is_online()
    await expect(alice.page.locator("#groups button", has_text="Reload")).to_contain_text("only written")
    assert await chat.history(group) == ["stored, but she doesn't know", "only written"]
    await alice.page.wait_for_function(f"sessionStorage.getItem('chatws:outbox:{ids['alice']}') === '[]'")
    stack.fill(group, ids["bob"], 60)  # more than a page of messages follows them when she looks
    await alice.open("Reload")
    await expect(alice.message("filled 59")).to_be_visible()
    await expect(alice.page.locator(".pending, .failed")).to_have_count(0)
    await alice.scroll_to_top(until="stored, but she doesn't know")
    assert (await alice.texts())[:3] == ["stored, but she doesn't know", "only written", "filled 0"]
    await expect(alice.message("only written")).to_have_count(1)


async def test_rejected_message_shows_its_reason_and_can_be_resent(
    browser: Browser, stack: Stack, gateway: Gateway, chat: Chat
) -> None:
    ids = stack.demo_users()
    group = await chat.group(ids["bob"], ids["alice"], name="Refused")
    alice = await arrive(browser, gateway.http)
    refused: list[str] = []
    sockets: list[WebSocketRoute] = []

    async def between(page_side: WebSocketRoute) -> None:
        sockets.append(page_side)
        server_side = page_side.connect_to_server()

        def pass_on(text: str | bytes) -> None:
            frame = json.loads(text)
            if frame["type"] != "send_message" or refused:
                server_side.send(text)
                return
            refused.append(frame["message_id"])
            error = {"code": 409, "message": "the chat group was disbanded"}
            page_side.send(json.dumps({"type": "error", "message_id": refused[0], "timestamp": 1, "data": error}))

        page_side.on_message(pass_on)

    await alice.page.route_web_socket("**/ws", between)
    await alice.log_in("alice")
    await alice.open("Refused")
    await alice.say("please")
    await expect(alice.page.get_by_text("Not sent: the group was disbanded")).to_be_visible()
    await alice.page.reload()
    await alice.is_online()
    await alice.open("Refused")
    await expect(alice.page.get_by_text("Not sent: the group was disbanded")).to_be_visible()
    await sockets[-1].close(code=4403)
    await expect(alice.page.locator("#banner")).to_contain_text("closed by an administrator")
    await expect(alice.page.locator("#banner")).not_to_contain_text("waiting to be sent")
    await alice.page.get_by_role("button", name="Connect again").click()
    await alice.is_online()
    assert await chat.history(group) == [], "nothing is sent again unasked"
    await alice.page.locator(".failed").get_by_role("button", name="Try again").click()
    await expect(alice.page.locator(".pending, .failed")).to_have_count(0)
    assert await chat.history(group) == ["please"]


def test_both_languages_translate_every_used_text() -> None:
    page = BASE_DIR / "chatws/static/chatws/page"
    script = "import { everyWord } from './i18n.js'; console.log(JSON.stringify(everyWord))"
    done = subprocess.run([str(NODE), "--input-type=module", "-e", script], cwd=page, capture_output=True, text=True)
    english, chinese = json.loads(done.stdout).values()
    assert set(english) == set(chinese)
    for key, words in english.items():
        assert sorted(re.findall(r"\{\w+\}", words)) == sorted(re.findall(r"\{\w+\}", chinese[key])), key
    texts = [path.read_text() for path in (*page.glob("*.js"), BASE_DIR / "chatws/templates/chatws/chat.html")]
    used = {
        key
        for text in texts
        for key in re.findall(r"""\bt\("(\w+)"|data-t(?:-\w+)?="(\w+)\"""", text)
        for key in key
        if key
    }
    assert used <= set(english), used - set(english)
    by_code = re.compile(r"(error|why)\d+")
    dead = {key for key in english if not by_code.fullmatch(key) and not any(f'"{key}"' in text for text in texts)}
    assert dead == set()
