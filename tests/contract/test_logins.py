"""Check that failed logins are limited, logged and counted, and that a flood of them takes few database connections."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from chatws.web.threads import LOGIN_THREADS, WAITING_PER_THREAD
from tests.support.database import ON_POSTGRES
from tests.support.redis import RedisServer
from tests.support.scrape import scraped
from tests.support.stack import Gateway, Stack
from tests.support.waiting import LIMIT, until

pytestmark = [pytest.mark.database, pytest.mark.reference_only]

PER_NAME = 5
FLOOD, SERVED = 150, LOGIN_THREADS * (1 + WAITING_PER_THREAD)
_addresses = (f"203.0.113.{number}" for number in itertools.count(1))


@pytest.fixture
def limited(stack: Stack) -> Iterator[Gateway]:
    gateway = stack.start_gateway(CHATWS_TRUSTED_PROXIES="127.0.0.1", CHATWS_LOGINS_PER_ADDRESS="20")
    yield gateway
    gateway.stop()


@pytest.fixture
async def client(limited: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(base_url=limited.http, timeout=LIMIT, limits=limits) as client:
        yield client


async def token(client: httpx.AsyncClient, address: str, name: str = "alice", password: str = "wrong") -> int:
    answer = await client.post(
        "/api/token/", json={"username": name, "password": password}, headers={"X-Forwarded-For": address}
    )
    if answer.status_code in (429, 503):
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.json()["code"] == answer.status_code
    return answer.status_code


async def test_failures_at_once_are_refused_after_a_few(client: httpx.AsyncClient, limited: Gateway) -> None:
    address, elsewhere = next(_addresses), next(_addresses)
    statuses = await asyncio.gather(*(token(client, address) for _ in range(60)))
    assert statuses.count(401) == PER_NAME
    assert set(statuses) <= {401, 429, 503}
    assert await token(client, address, password="demo") == 429, "the right password is refused as well"
    assert await token(client, elsewhere, password="demo") == 200, "nobody is locked out from elsewhere"
    assert await token(client, address, name="bob", password="demo") == 200, "nor is another name"
    seen = await scraped(f"{limited.http}/metrics", lambda seen: seen.total("chatws_logins_total"))
    assert seen.total("chatws_logins_total", outcome="failed") == PER_NAME
    assert seen.total("chatws_logins_total", outcome="refused") >= 1
    log = limited.log.read_text()
    assert f"a login failed: name 'alice' from {address}" in log
    assert f"a login was refused after too many failures: name 'alice' from {address}" in log
    assert "wrong" not in log


async def test_success_forgets_the_failures(client: httpx.AsyncClient) -> None:
    address = next(_addresses)
    for _ in range(3):
        for _ in range(PER_NAME - 1):
            assert await token(client, address) == 401
        assert await token(client, address, password="demo") == 200


async def test_failures_of_many_names_limit_their_address(client: httpx.AsyncClient) -> None:
    address = next(_addresses)
    statuses = [await token(client, address, name=f"nobody-{number}") for number in range(22)]
    assert statuses == [401] * 20 + [429] * 2


async def test_addresses_of_one_ipv6_network_share_a_limit(client: httpx.AsyncClient) -> None:
    statuses = [await token(client, f"2001:db8:1:2::{number:x}") for number in range(1, PER_NAME + 2)]
    assert statuses == [401] * PER_NAME + [429]


async def admin_login(client: httpx.AsyncClient, address: str, csrf: str, name: str, password: str) -> httpx.Response:
    fields = {"username": name, "password": password, "csrfmiddlewaretoken": csrf}
    headers = {"X-Forwarded-For": address, "Cookie": f"csrftoken={csrf}"}
    return await client.post("/admin/login/", data=fields, headers=headers)


async def test_admin_limits_logins_too(client: httpx.AsyncClient) -> None:
    address, csrf = next(_addresses), (await client.get("/admin/login/")).cookies["csrftoken"]
    answers = [await admin_login(client, address, csrf, "admin", "wrong") for _ in range(PER_NAME + 1)]
    assert [answer.status_code for answer in answers] == [200] * PER_NAME + [429]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    assert (await admin_login(client, next(_addresses), csrf, "admin", "demo")).status_code == 302


@pytest.mark.ours_only
async def test_admin_can_be_reached_while_redis_is_away(stack: Stack, tmp_path: Path) -> None:
    redis = RedisServer(tmp_path)
    redis.start()
    gateway = stack.start_gateway(REDIS_URL=redis.url, CHATWS_ADMIN="only")
    redis.kill()
    async with httpx.AsyncClient(base_url=gateway.http, timeout=LIMIT) as client:
        csrf = (await client.get("/admin/login/")).cookies["csrftoken"]
        assert (await admin_login(client, "", csrf, "admin", "demo")).status_code == 302
    assert "logins are not limited now" in gateway.log.read_text()
    gateway.stop()


def few_slots(stack: Stack) -> str:
    """Return the URL of the stack's database for a role with six connections; SQLite has no such limit."""
    url = stack.env["DATABASE_URL"]
    if not ON_POSTGRES:
        return url
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP OWNED BY few; DROP ROLE few" if _has_role(connection) else "SELECT 1")
        connection.execute("CREATE ROLE few LOGIN CONNECTION LIMIT 6")
        connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO few")
        connection.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO few")
    return url.replace("//chatws@", "//few@")


def _has_role(connection: "psycopg.Connection[tuple[object, ...]]") -> bool:
    return connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'few'").fetchone() is not None


@contextmanager
def users_locked(stack: Stack) -> Iterator[None]:
    """Let each login wait for the table of users, with its database connection; SQLite has no such lock."""
    if not ON_POSTGRES:
        yield
        return
    with psycopg.connect(stack.env["DATABASE_URL"]) as connection:
        connection.execute("LOCK TABLE auth_user")
        yield
        connection.rollback()


def threads_of(gateway: Gateway) -> int:
    status = Path(f"/proc/{gateway.pid}/status").read_text()
    return int(status.partition("Threads:")[2].split()[0])


async def test_flood_of_logins_takes_few_connections_and_threads(stack: Stack) -> None:
    gateway = stack.start_gateway(
        CHATWS_TRUSTED_PROXIES="127.0.0.1", CHATWS_HTTP_THREADS="2", DATABASE_URL=few_slots(stack)
    )
    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(base_url=gateway.http, timeout=LIMIT, limits=limits) as client:
        csrf = (await client.get("/admin/login/")).cookies["csrftoken"]
        before = threads_of(gateway)
        with users_locked(stack):
            flood = [
                asyncio.ensure_future(admin_login(client, f"198.51.100.{number}", csrf, f"name-{number}", "wrong"))
                for number in range(FLOOD)
            ]
            if ON_POSTGRES:
                await until(lambda: sum(one.done() for one in flood), lambda n: n >= FLOOD - SERVED, "many are refused")
            assert (await client.get("/favicon.ico")).status_code == 302, "other requests are served"
            assert threads_of(gateway) <= before + 8, "two for requests, two for logins, one for the rest of each"
        statuses = [answer.status_code for answer in await asyncio.gather(*flood)]
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) >= SERVED
    gateway.stop()
