"""Check a day of chat between two users in two windows, with the whole chat and a failing network."""

from pathlib import Path

import pytest
from playwright.async_api import Browser, Route, expect

from tests.e2e import long_group
from tests.support.browser import Person, arrive
from tests.support.chat import Chat
from tests.support.proxy import Proxy
from tests.support.stack import Gateway, Stack

pytestmark = pytest.mark.browser

PICTURE = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="640" height="420"><rect width="640" height="420" fill="#9cc5e8"/>'
    b'<path d="M0 420 210 150 330 290 450 190 640 420Z" fill="#3d6b4f"/>'
    b'<circle cx="520" cy="90" r="46" fill="#f5d76e"/></svg>'
)


async def give_picture(route: Route) -> None:
    await route.fulfill(content_type="image/svg+xml", body=PICTURE)


async def test_day_of_chat(browser: Browser, stack: Stack, gateway: Gateway, chat: Chat) -> None:
    ids = stack.demo_users()
    group = await chat.group(ids["alice"], ids["bob"], name="The day")
    for number in range(130):
        await chat.say(group, ids["bob" if number % 3 else "alice"], f"line {number}", f"{group}-{number}")
    async with Proxy(gateway.port) as proxy:
        alice = await arrive(browser, f"http://127.0.0.1:{proxy.port}")
        bob = await arrive(browser, gateway.http)
        for person in (alice, bob):
            await person.page.route("https://images.example/**", give_picture)
        await alice.log_in("alice")
        await bob.log_in("bob")
        await alice.open("The day")
        await bob.open("The day")
        await expect(alice.message("line 129")).to_be_visible()
        await scroll_to_the_beginning_and_back(alice)
        await type_write_and_read(alice, bob)
        await show_image_on_request(alice, bob)
        await write_through_an_outage(alice, bob, proxy)
        await check_one_order(alice, bob, await chat.history(group))
        await log_out_and_catch_up(alice, bob)
        for person in (alice, bob):
            assert [said for said in person.complaints if "ERR_" not in said] == []


async def scroll_to_the_beginning_and_back(alice: Person) -> None:
    """Check that scrolling loads the whole history once and in order."""
    await alice.scroll_to_top(until="line 0")
    await expect(alice.page.get_by_text("This is the beginning of the conversation.")).to_be_visible()
    assert await alice.texts() == [f"line {number}" for number in range(130)]
    await alice.page.get_by_role("button", name="Jump to newest").click()
    await expect(alice.message("line 129")).to_be_in_viewport()


async def type_write_and_read(alice: Person, bob: Person) -> None:
    """Check that typing, texts, read states and presence reach the other page."""
    await bob.page.get_by_label("Message", exact=True).press_sequentially("Good morn")
    await expect(alice.page.get_by_text("Bob is typing…")).to_be_visible()
    await bob.say("Good morning!")
    await expect(alice.message("Good morning!")).to_be_visible()
    await expect(alice.page.get_by_text("Bob is typing…")).to_be_hidden()
    await alice.say("Morning, Bob")
    await expect(bob.message("Morning, Bob")).to_be_visible()
    await expect(alice.message("Morning, Bob").locator(".tick.read")).to_be_attached()
    await expect(alice.page.locator("#room-presence")).to_have_text("2 of 2 online")
    await expect(alice.page.locator("#messages .dot").last).to_be_visible()


async def show_image_on_request(alice: Person, bob: Person) -> None:
    """Send an image by its address; check that bob sees it on request, and alice again after a reload."""
    await alice.page.get_by_role("button", name="Send an image").click()
    await alice.page.get_by_label("Address of the image").fill("https://images.example/hill.svg")
    await expect(alice.page.locator("#image-preview")).to_be_visible()
    await alice.page.locator("#image-dialog").get_by_role("button", name="Send").click()
    await expect(alice.page.locator("#messages img")).to_be_visible()
    ask = bob.page.get_by_role("button", name="Show image from images.example")
    await ask.click()
    await expect(bob.page.locator("#messages img")).to_be_visible()
    await alice.page.reload()
    row = alice.page.locator("#groups button", has_text="The day")
    await expect(row.locator(".last")).to_have_text("Alice: Image")
    await alice.open("The day")
    await expect(alice.page.locator("#messages img")).to_be_visible()


async def write_through_an_outage(alice: Person, bob: Person, proxy: Proxy) -> None:
    """Drop alice's network while both write; check that all messages arrive once it returns."""
    proxy.drop_silently()
    proxy.reset()
    await expect(alice.page.locator("#banner")).to_contain_text("kept in this tab")
    for number in range(5):
        await alice.say(f"written away {number}")
        await bob.say(f"meanwhile {number}")
    await expect(alice.page.locator("#banner")).to_contain_text("5 waiting to be sent")
    await expect(bob.message("meanwhile 4").locator(".tick")).to_be_attached()
    proxy.restore()
    proxy.reset()
    await alice.is_online()
    await expect(alice.page.locator("#banner")).to_be_hidden()
    await expect(alice.page.locator(".pending, .failed")).to_have_count(0)
    await expect(bob.message("written away 4")).to_be_visible()
    await expect(alice.message("meanwhile 4")).to_be_visible()


async def check_one_order(alice: Person, bob: Person, stored: list[str]) -> None:
    """Check that both pages show the latest messages once and in the order of the history."""
    for person in (alice, bob):
        texts = await person.texts()
        await expect(person.message("written away 0")).to_have_count(1)
        assert texts[-13:] == [text for text in stored if text][-13:]
        assert len(set(texts[-13:])) == 13
    assert [text for text in stored if text.startswith("written")] == [f"written away {n}" for n in range(5)]


async def log_out_and_catch_up(alice: Person, bob: Person) -> None:
    """Log bob out; check that alice sees it, and that bob finds the message he missed after his login."""
    await bob.log_out()
    await expect(alice.page.locator("#room-presence")).to_have_text("1 of 2 online")
    await alice.say("Good night")
    await expect(alice.message("Good night").locator(".tick")).to_be_attached()
    await bob.log_in("bob")
    row = bob.page.locator("#groups button", has_text="The day")
    await expect(row.locator(".unread")).to_contain_text("1 unread")
    await bob.open("The day")
    await expect(bob.message("Good night")).to_have_count(1)
    await expect(row.locator(".unread")).to_have_count(0)


async def test_long_group_draws_few_rows_at_once(browser: Browser, tmp_path: Path) -> None:
    """Scroll through 600 messages; `make proofs` scrolls through ten thousand and measures the time."""
    await long_group.scroll(browser, tmp_path, 600)
