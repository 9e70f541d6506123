"""Check how the chat page looks: on a phone, in another language, and after an error."""

import pytest
from playwright.async_api import Browser, expect

from tests.support.browser import arrive
from tests.support.chat import Chat
from tests.support.stack import Gateway, Stack

pytestmark = pytest.mark.browser


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
    await expect(notice).to_have_text("Could not be loaded: the service is unavailable")
    await expect(notice).to_be_in_viewport()
    await expect(bob.page.locator("#groups button", has_text="Brand new")).to_be_attached(timeout=15_000)
    await expect(notice).to_be_hidden()


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
