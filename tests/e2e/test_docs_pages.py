"""Check the documents' pages in a real Chromium under the site's content policy."""

import pytest
from playwright.async_api import Browser, expect

from tests.support.browser import Person
from tests.support.client import make_token
from tests.support.stack import Gateway

pytestmark = pytest.mark.browser


async def test_http_api_can_be_tried_on_its_page(browser: Browser, gateway: Gateway) -> None:
    reader = Person(await browser.new_page(), f"{gateway.http}/docs/api")
    page = reader.page
    await page.goto(reader.address)
    await page.get_by_role("button", name="Authorize").first.click()
    await page.locator(".auth-container input").fill(make_token(42))
    await page.locator(".auth-container button", has_text="Authorize").click()
    await page.locator(".auth-container button", has_text="Close").click()
    operation = page.locator(".opblock", has_text="/api/notifications/unread-count")
    await operation.locator(".opblock-summary-control").click()
    await operation.get_by_role("button", name="Try it out").click()
    await operation.get_by_role("button", name="Execute").click()
    await expect(operation.locator(".live-responses-table tbody .response-col_status")).to_have_text("200")
    await expect(operation.locator(".live-responses-table tbody")).to_contain_text('"count": 0')
    assert reader.complaints == []


async def test_socket_page_links_each_frame_on_every_screen(browser: Browser, gateway: Gateway) -> None:
    for width in (360, 1440):
        page = await browser.new_page(viewport={"width": width, "height": 800})
        reader = Person(page, f"{gateway.http}/docs/socket")
        await page.goto(reader.address)
        await page.get_by_role("link", name="feed_reset").click()
        await expect(page.get_by_role("heading", name="feed_reset")).to_be_in_viewport()
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert reader.complaints == []
