"""Check the admin's pages in a real Chromium."""

import pytest
from playwright.async_api import Browser, expect

from tests.support.browser import arrive
from tests.support.stack import Gateway

pytestmark = pytest.mark.browser


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
