"""What every test may ask for: a Redis of the session, emptied for each test that uses it."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
from django.conf import settings

from realtime.conf import RealtimeConf
from realtime.redis import Redis, connect
from tests.support.redis import RedisServer


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The session's Redis. A test that kills one starts its own."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    """A client of the session's Redis, empty at first."""
    client = connect(redis_server.url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
def conf(redis_server: RedisServer) -> RealtimeConf:
    """The settings of delivery, on the session's Redis."""
    return replace(settings.REALTIME, redis_url=redis_server.url)
