"""Check the figures on the admin's index in a real Chromium: live updates, accessibility, languages, appearances.

With `CHATWS_SCREENSHOTS` set, screenshots are written into that folder (`make screenshots`: docs/images).
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest
import redis
from playwright.async_api import Browser, Locator, Page, Route, expect

from tests.contract.test_overview import stopped
from tests.contract.test_revocation import welcomed
from tests.e2e.test_pages import picture, without_barriers
from tests.support.browser import Person, arrive
from tests.support.chat import new_user
from tests.support.client import make_token
from tests.support.platform_stack import PlatformStack
from tests.support.stack import Gateway

pytestmark = pytest.mark.browser

LEASED_UNTIL = 2**40
CLOSES = {1000: 412, 1001: 230, 1006: 57, 4401: 31, 4501: 18, 4502: 4, 4508: 9, 4529: 2}


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformStack]:
    """Start a chat and add the Redis and database records of further gateways, fourteen in all."""
    stack = PlatformStack(tmp_path_factory.mktemp("city"))
    try:
        stack.start()
        with redis.Redis.from_url(stack.redis.url) as client:
            for number in range(1, 14):
                name = f"gateway-{number:02}"
                client.hset(f"chatws:node:{name}", mapping={f"{name}-{n}": n for n in range(40 + 53 * number % 97)})
                client.zadd("chatws:nodes", {name: LEASED_UNTIL})
            be_online(client, 1_000)
        stack.add_entry("chat.message.new", {"nonsense": "of this test"})
        now = datetime.now(UTC)
        for code, count in CLOSES.items():
            rows = [
                (f"{code}-{number}", "gateway-01", "", "", "", now, now, code, 0, 0, 0, 0) for number in range(count)
            ]
            columns = (
                "connection_id, node, address, user_agent, way, opened_at, closed_at, close_code,"
                " frames_in, frames_out, bytes_in, bytes_out"
            )
            places = ", ".join([f"({', '.join(['%s'] * 12)})"] * len(rows))
            values = [str(value) if isinstance(value, datetime) else value for row in rows for value in row]
            stack.query(f"INSERT INTO realtime_connectionrecord ({columns}) VALUES {places}", *values)
        yield stack
    finally:
        stack.stop()


def be_online(client: "redis.Redis", users: int) -> None:
    """Set the number of users in the whole cluster."""
    client.delete("chatws:online")
    client.hset("chatws:online", mapping={str(10**6 + number): 1 for number in range(users)})


async def administrator(browser: Browser, gateway: Gateway, **look: object) -> Person:
    """Return an administrator at the admin's index, once the first figures are shown."""
    person = await arrive(browser, f"{gateway.http}/admin/", **look)  # type: ignore[arg-type]  # what it takes by name
    page = person.page
    await page.goto(person.address)
    await page.get_by_label("Username").fill("admin")
    await page.get_by_label("Password").fill("demo")
    await page.get_by_role("button", name="Log in").click()
    await expect(page.locator("#overview .state")).to_contain_text(":")
    return person


def figure(page: Page, name: str) -> Locator:
    return page.locator("#overview dl > div", has=page.get_by_text(name, exact=True)).locator("dd")


async def test_figures_update_without_reload_and_keep_focus(browser: Browser, city: PlatformStack) -> None:
    person = await administrator(browser, city.gateway)
    page = person.page
    await page.evaluate("window.isTheSamePage = true")
    row = page.get_by_role("table", name="Dead letters").locator("tbody tr")
    await row.get_by_role("link").focus()
    letters = int(await row.locator("td").inner_text())
    users = await figure(page, "Online users").inner_text()
    assert users == "1,000"
    client = await welcomed(city.gateway, make_token(new_user()))
    city.add_entry("chat.message.new", {"nonsense": "and more of it"})
    await expect(figure(page, "Online users")).to_have_text("1,001")
    await expect(row.locator("td")).to_have_text(str(letters + 1))
    await expect(row.get_by_role("link")).to_be_focused()
    await client.close()
    await expect(figure(page, "Online users")).to_have_text("1,000")
    assert await page.evaluate("window.isTheSamePage")
    assert person.complaints == []


@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_index_is_accessible(
    browser: Browser, city: PlatformStack, tmp_path: Path, width: int, scheme: Literal["light", "dark"]
) -> None:
    person = await administrator(browser, city.gateway, width=width, scheme=scheme)
    page = person.page
    relay = next(process for process in city.processes if process.name.startswith("relay"))
    with stopped(relay.pid), redis.Redis.from_url(city.redis.url) as client:
        city.add_entry(
            "notification:push",
            {"user_id": 10**6, "notification_id": "n", "type": "news", "title": "t", "content": "c", "timestamp": 1},
        )
        await pass_some_minutes(page, client)
        await expect(page.get_by_role("table", name="Connections per gateway").locator("tbody tr")).to_have_count(10)
        await expect(page.get_by_text("and 4 more")).to_be_visible()
        waiting = page.get_by_role("table", name="Entries waiting").get_by_role("row", name="notification:push")
        await expect(waiting.locator("td")).not_to_have_text("0")
        await without_barriers(page)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        await page.set_viewport_size({"width": width, "height": 2000 if width == 360 else 1320})
        await picture(page, tmp_path, f"admin-{width}-{scheme}")
        be_online(client, 1_000)
    assert person.complaints == []


async def pass_some_minutes(page: Page, client: "redis.Redis") -> None:
    """Advance the page's clock while users connect and disconnect."""
    await page.clock.install(time=datetime(2026, 3, 2, 9, 30, tzinfo=UTC))
    await page.reload()
    for users in (0, 3, 5, 4, 9, 14, 12, 19, 27, 31, 28, 34, 31):
        be_online(client, 1_000 + users)
        await page.clock.run_for(3_000)
        await expect(figure(page, "Online users")).to_have_text(f"{1_000 + users:,}")


async def test_services_are_listed_with_their_addresses(browser: Browser, city: PlatformStack) -> None:
    person = await administrator(browser, city.gateway)
    here = person.page.get_by_role("table", name="This gateway")
    for number, (part, state) in enumerate([
        ("Gateway", "in order"), ("Redis", "in order"), ("Chat service", "in order"),
        ("Its instances", city.rpc_target), ("User service", "in order"),
        ("Its instances", city.user_target),
    ]):  # fmt: skip
        row = here.locator("tbody tr").nth(number)
        await expect(row.locator("th")).to_have_text(part)
        await expect(row.locator("td")).to_have_text(state)
    assert person.complaints == []
    city.redis.kill()
    try:
        await expect(here.get_by_role("row", name="Redis")).to_contain_text("unavailable at")
    finally:
        city.redis.start()
    await expect(here.get_by_role("row", name="Redis")).to_contain_text("in order")


async def test_every_figure_links_to_its_rows(browser: Browser, city: PlatformStack) -> None:
    person = await administrator(browser, city.gateway)
    page = person.page
    for table, name, counted in (
        ("Closes in the last 24 hours", "4502", "4 connections"),
        ("Dead letters", "chat.message.new", "of this test"),
    ):
        await page.get_by_role("table", name=table).get_by_role("link", name=name).click()
        await expect(page.locator("#content")).to_contain_text(counted)
        await page.go_back()


async def test_figures_use_the_chinese_admin_language(browser: Browser, city: PlatformStack) -> None:
    async def in_chinese(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(
            response=answer, body=(await answer.text()).replace('<html lang="en"', '<html lang="zh-hans"')
        )

    person = await administrator(browser, city.gateway)
    page = person.page
    await page.route("**/admin/", in_chinese)
    await page.goto(person.address)
    await expect(page.get_by_role("heading", name="实时状态")).to_be_visible()
    await expect(figure(page, "网关数")).to_have_text("14")
    await expect(page.locator("#overview .state")).to_contain_text("更新于")


async def test_stale_figures_are_marked_and_can_be_paused(browser: Browser, city: PlatformStack) -> None:
    person = await administrator(browser, city.gateway)
    page = person.page
    await page.clock.install()
    await page.reload()
    await expect(page.locator("#overview .state")).to_contain_text(":")
    await page.context.clear_cookies()
    await expect(page.get_by_role("status")).to_contain_text("you are logged out or lack the permission.")
    await expect(page.get_by_role("status")).to_contain_text("No new figures since")
    await without_barriers(page)
    await page.get_by_role("button", name="Pause").click()
    await expect(page.get_by_role("button", name="Pause", pressed=True)).to_be_visible()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.clock.run_for(60_000)
    assert asked == []
    async with page.expect_request("**/overview/"):
        await page.get_by_role("button", name="Pause").click()


async def test_overview_recovers_from_unavailable_redis(browser: Browser, city: PlatformStack) -> None:
    person = await administrator(browser, city.gateway)
    page = person.page
    city.redis.kill()
    try:
        gateways = page.locator("#overview .card", has=page.get_by_role("heading", name="Connections per gateway"))
        await expect(gateways).to_contain_text(f"Redis at 127.0.0.1:{city.redis.port} is unavailable")
        await expect(figure(page, "Online users")).to_have_text("–")
        closes = page.get_by_role("table", name="Closes in the last 24 hours")
        await expect(closes.get_by_role("row", name="4502")).to_be_visible()
        await without_barriers(page)
    finally:
        city.redis.start()
    await expect(figure(page, "Online users")).to_have_text("1,000")
