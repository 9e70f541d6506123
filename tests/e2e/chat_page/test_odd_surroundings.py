"""Check the chat page where the browser, the clock or another service does not do what one hopes."""

import json
from typing import Any

import pytest
from playwright.async_api import Browser, Route, WebSocketRoute, expect

from tests.support.browser import Person, arrive
from tests.support.chat import Chat, new_user
from tests.support.client import bearer, connect, make_token
from tests.support.stack import Gateway, Stack

pytestmark = pytest.mark.browser

BLOCKED = """for (const name of ["localStorage", "sessionStorage"])
    Object.defineProperty(window, name, { get() { throw new DOMException("denied", "SecurityError"); } });
window.BroadcastChannel = class { constructor() { throw new DOMException("denied", "SecurityError"); } };"""
ABSENT = """for (const name of ["localStorage", "sessionStorage"])
    Object.defineProperty(window, name, { value: null });"""
FULL = """Storage.prototype.setItem = () => { throw new DOMException("full", "QuotaExceededError"); };"""
CORRUPT = """const odd = ['{"language": 5, "theme": {}}', "{", "5", "[]", "null"];
let asked = 0;
Storage.prototype.getItem = () => odd[asked++ % odd.length];"""


async def write(person: Person, group: str, text: str) -> None:
    await person.open(group)
    await person.say(text)
    await expect(person.message(text).locator(".tick")).to_be_attached()


@pytest.mark.parametrize(("name", "script"), [("Blocked", BLOCKED), ("Absent", ABSENT), ("Full", FULL)])
async def test_page_works_without_storage(
    browser: Browser, stack: Stack, gateway: Gateway, chat: Chat, name: str, script: str
) -> None:
    ids = stack.demo_users()
    await chat.group(ids["alice"], ids["bob"], name=name)
    alice = await arrive(browser, gateway.http)
    await alice.page.add_init_script(script)
    await alice.log_in("alice")
    await write(alice, name, "kept in memory")
    await alice.page.get_by_role("button", name="Settings").click()
    await alice.page.locator("#theme").select_option("dark")
    await alice.page.get_by_role("button", name="Log out").click()
    await alice.fill_in("alice")
    await alice.is_online()
    await alice.open(name)
    await expect(alice.message("kept in memory")).to_be_visible()
    assert alice.complaints == []


async def test_page_starts_with_corrupt_storage(browser: Browser, stack: Stack, gateway: Gateway) -> None:
    stack.demo_users()
    alice = await arrive(browser, gateway.http)
    await alice.page.add_init_script(CORRUPT)
    await alice.page.goto(alice.address)
    await expect(alice.page.get_by_role("button", name="Log in")).to_be_visible()
    assert alice.complaints == []


async def enter_with_token(browser: Browser, gateway: Gateway, user: int, script: str = "") -> Person:
    """Return a person who is logged in by a token that cannot be refreshed."""
    person = await arrive(browser, gateway.http)
    kept = json.dumps(json.dumps({"access": make_token(user), "refresh": ""}))
    await person.page.add_init_script(f"sessionStorage.setItem('chatws', {kept}); {script}")
    await person.page.goto(person.address)
    await person.is_online()
    return person


@pytest.mark.parametrize("years", [10, -10])
async def test_wrong_clock_ends_no_login(browser: Browser, gateway: Gateway, chat: Chat, years: int) -> None:
    user = new_user()
    await chat.group(user, new_user(), name=f"Wrong by {years}")
    wrong = f"const real = Date.now; Date.now = () => real() + {years} * 365 * 86_400_000;"
    person = await enter_with_token(browser, gateway, user, wrong)
    await write(person, f"Wrong by {years}", "by which clock?")
    await expect(person.page.locator("#login")).to_be_hidden()


async def test_own_cursor_above_2_to_the_53_is_no_reader(browser: Browser, gateway: Gateway, chat: Chat) -> None:
    big, other = 2**64 - 59, new_user()
    group = await chat.group(other, big, name="Far above")
    await chat.say(group, big, "mine", f"{group}-1")
    await chat.say(group, other, "theirs", f"{group}-2")
    phone = await connect(gateway.ws, additional_headers=bearer(big))
    await phone.ask("mark_read", {"group_id": group, "message_id": f"{group}-2"})
    await phone.close()
    person = await enter_with_token(browser, gateway, big)
    async with person.page.expect_response("**/members*") as asked:
        await person.open("Far above")
    assert f"{group}-2" in await (await asked.value).text(), "the service knows the cursor"
    await expect(person.message("mine").locator(".tick")).to_be_attached()
    await expect(person.page.locator(".message.mine")).to_have_count(1)
    reader = await connect(gateway.ws, additional_headers=bearer(other))
    await reader.ask("mark_read", {"group_id": group, "message_id": f"{group}-2"})
    await reader.close()
    await expect(person.message("mine").locator(".tick.read")).to_have_attribute("title", "Read")


ODD = [
    {"created_at": 1_700_000_000_000_000, "content": "in microseconds"},
    {"created_at": None, "content": "without a time"},
    {"created_at": 1_700_000_000, "content": None, "sender_name": 5, "sender": None, "sender_id": None},
    {"created_at": "soon", "content": {"a": 1}, "msg_type": 99},
    {"created_at": 1e300, "content": "x" * 60_000, "image_url": [], "msg_type": 2},
]


async def test_odd_message_hides_no_room(browser: Browser, stack: Stack, gateway: Gateway, chat: Chat) -> None:
    """Change what the gateway says: the group list's times, a notification's, and the messages of a history."""
    ids = stack.demo_users()
    group = await chat.group(ids["bob"], ids["alice"], name="Odd values")
    await chat.say(group, ids["bob"], "an ordinary message")
    await chat.notify(ids["alice"], "An ordinary notification")
    alice = await arrive(browser, gateway.http)
    errors: list[str] = []
    alice.page.on("pageerror", lambda error: errors.append(str(error)))

    async def in_microseconds(route: Route) -> None:
        answer = await route.fetch()
        body = await answer.json()
        for one in body["data"].get("groups", []) + body["data"].get("notifications", []):
            one |= {name: "1700000000000000" for name in ("last_message_at", "created_at") if name in one}
        await route.fulfill(response=answer, json=body)

    def odd(text: str | bytes) -> str:
        frame: dict[str, Any] = json.loads(text)
        if frame["type"] == "history":
            [message] = frame["data"]["messages"]
            frame["data"]["messages"] += [message | one | {"message_id": f"odd-{n}"} for n, one in enumerate(ODD)]
            frame["data"]["messages"] += [None, {}, "text"]
        return json.dumps(frame)

    async def between(page_side: WebSocketRoute) -> None:
        server_side = page_side.connect_to_server()
        server_side.on_message(lambda text: page_side.send(odd(text)))

    await alice.page.route("**/api/users/*/groups*", in_microseconds)
    await alice.page.route("**/api/notifications?*", in_microseconds)
    await alice.page.route_web_socket("**/ws", between)
    await alice.log_in("alice")
    await alice.open("Odd values")
    await expect(alice.message("an ordinary message")).to_be_visible()
    await expect(alice.message("in microseconds")).to_be_attached()
    await expect(alice.page.locator("#messages .message")).to_have_count(1 + len(ODD))
    await alice.page.get_by_role("button", name="Notifications").click()
    await expect(alice.page.locator("#notifications strong").first).to_be_visible()
    await alice.page.keyboard.press("Escape")
    await alice.say("and life goes on")
    await expect(alice.message("and life goes on").locator(".tick")).to_be_attached()
    assert errors == []


async def test_time_in_microseconds_hides_no_later_message(
    browser: Browser, stack: Stack, gateway: Gateway, chat: Chat
) -> None:
    """Deliver a read message in microseconds, for a service without read cursors: the next one is unread."""
    ids = stack.demo_users()
    group = await chat.group(ids["bob"], ids["alice"], name="Microseconds")
    alice = await arrive(browser, gateway.http)

    async def without_counts(route: Route) -> None:
        answer = await route.fetch()
        body = await answer.json()
        for one in body["data"]["groups"]:
            one.pop("unread_count", None)
        await route.fulfill(response=answer, json=body)

    def odd(text: str | bytes) -> str:
        frame: dict[str, Any] = json.loads(text)
        if frame["type"] == "new_message" and frame["data"]["content"] == "odd":
            frame["data"]["created_at"] *= 1_000_000
        return json.dumps(frame)

    async def between(page_side: WebSocketRoute) -> None:
        server_side = page_side.connect_to_server()
        server_side.on_message(lambda text: page_side.send(odd(text)))

    await alice.page.route("**/api/users/*/groups*", without_counts)
    await alice.page.route_web_socket("**/ws", between)
    await alice.log_in("alice")
    await alice.open("Microseconds")
    await expect(alice.page.get_by_text("This is the beginning of the conversation.")).to_be_attached()
    await chat.say(group, ids["bob"], "odd", f"{group}-odd")
    await expect(alice.message("odd")).to_be_visible()
    await alice.open("Lunch")
    await alice.is_online()
    await chat.say(group, ids["bob"], "later", f"{group}-later")
    row = alice.page.locator("#groups button", has_text="Microseconds")
    await expect(row.locator(".unread")).to_contain_text("unread")
    await alice.page.reload()
    await expect(row.locator(".unread")).to_contain_text("unread")


async def test_today_becomes_yesterday_at_midnight(
    browser: Browser, stack: Stack, gateway: Gateway, chat: Chat
) -> None:
    ids = stack.demo_users()
    group = await chat.group(ids["bob"], ids["alice"], name="Midnight")
    await chat.say(group, ids["bob"], "good night")
    alice = await arrive(browser, gateway.http)
    await alice.page.clock.install()
    await alice.log_in("alice")
    await alice.open("Midnight")
    await expect(alice.page.locator("#messages .separator.day")).to_have_text("Today")
    await alice.page.clock.fast_forward("24:00:00")
    await expect(alice.page.locator("#messages .separator.day")).to_have_text("Yesterday")
