"""Fixtures of the hub's tests."""

from collections.abc import AsyncIterator

import pytest

from realtime.conf import RealtimeConf
from tests.support.hub import World
from tests.support.redis import Redis


@pytest.fixture(params=["ours", "stock"])
async def world(redis: Redis, conf: RealtimeConf, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    world = World(redis, conf, request.param)
    world.hub.start()
    yield world
    await world.stop()
