"""Fixtures of every test, such as the session's Redis, which is emptied for each test that uses it."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import hypothesis
import psycopg
import pytest
from django.conf import settings

from realtime.conf import RealtimeConf
from tests.support.chat import Chat
from tests.support.client import Client, connect, make_token
from tests.support.database import ON_POSTGRES
from tests.support.platform_stack import PlatformStack, RealStack
from tests.support.postgres import PostgresServer
from tests.support.processes import ByZygote
from tests.support.redis import Redis, RedisServer
from tests.support.redis import connect as connect_redis
from tests.support.stack import SERVERS, Gateway, Stack

pytest_plugins = ["tests.support.failures", "tests.support.order"]
LONGEST = ("tests/e2e/", "tests/javascript/", "tests/faults/", "tests/config/")
"""The folders whose files take longest."""
hypothesis.settings.register_profile(
    "without a clock", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("without a clock")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--chat-service",
        choices=("reference", "twin", "real"),
        default="reference",
        help="that the shared chat is beside",
    )
    parser.addoption("--server", choices=sorted(SERVERS), default="ours", help="the ASGI server that gateways run on")


def pytest_configure(config: pytest.Config) -> None:
    Stack.server = config.getoption("--server")
    ByZygote.starts = ByZygote.forks = True
    settings.DATABASES["default"]["CONN_MAX_AGE"] = 0  # a test's threads end with its loop


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests that use the database; deselect tests that this chat service or ASGI server does not support."""
    for item in items:
        if item.get_closest_marker("django_db"):
            item.add_marker("database")
    if config.getoption("--chat-service") != "reference":  # tests that start their own chat start the reference service
        left_out = [item for item in items if item.get_closest_marker("reference_only") or not _uses_shared(item)]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)
    if Stack.server != "ours":
        left_out = [item for item in items if item.get_closest_marker("ours_only")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


def _uses_shared(item: pytest.Item) -> bool:
    return "stack" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """Close connections that our threads left open: PostgreSQL does not drop a database in use."""
    yield
    if ON_POSTGRES:
        ours = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
            connection.execute(ours, [settings.DATABASES["default"]["NAME"]])


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Start the session's Redis; a test that kills Redis starts its own."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Start the session's PostgreSQL."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    """Empty the session's Redis and return a client."""
    client = connect_redis(redis_server.url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
def conf(redis_server: RedisServer) -> RealtimeConf:
    """Return the delivery settings for the session's Redis."""
    return replace(settings.REALTIME, redis_url=redis_server.url)


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Start the whole chat for tests that leave it intact; a test that breaks a part starts its own."""
    kinds = {"reference": Stack, "twin": PlatformStack, "real": RealStack}
    kind = kinds[request.config.getoption("--chat-service")]
    stack = kind(
        tmp_path_factory.mktemp("stack"),
        CHATWS_PRESENCE_LEASE="10",
        CHATWS_AUTH_TIMEOUT="120",
        CHATWS_AUDIT_UNAUTHENTICATED_PER_MINUTE="0",
        CHATWS_AUDIT_PER_USER_PER_HOUR="0",
    )
    try:
        stack.start()
        Stack.shared = stack
        yield stack
    finally:
        Stack.shared = None
        stack.stop()


@pytest.fixture
def gateway(stack: Stack) -> Gateway:
    """Return the shared stack's first gateway."""
    return next(process for process in stack.processes if isinstance(process, Gateway))


@pytest.fixture
async def chat(stack: Stack) -> AsyncIterator[Chat]:
    """Return a client of the shared stack's chat service."""
    chat = stack.chat()
    yield chat
    await chat.close()


@pytest.fixture
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """Return an HTTP client of the shared gateway."""
    async with httpx.AsyncClient(base_url=gateway.http) as http:
        yield http


Connect = Callable[..., Awaitable[Client]]


@pytest.fixture
async def sockets(gateway: Gateway) -> AsyncIterator[Connect]:
    """Open sockets, by default to the shared gateway, and close them after the test."""
    opened: list[Client] = []

    async def open_socket(url: str = gateway.ws, **options: Any) -> Client:
        client = await connect(url, **options)
        opened.append(client)
        return client

    yield open_socket
    for client in opened:
        await client.close()


@pytest.fixture
async def log_in(sockets: Connect) -> Connect:
    """Open a socket and authenticate a user with the first frame."""

    async def log_in(user_id: int, url: str | None = None) -> Client:
        client = await (sockets(url) if url else sockets())
        answer = await client.ask("auth", {"token": make_token(user_id)})
        assert answer["type"] == "auth_success", answer
        return client

    return log_in
