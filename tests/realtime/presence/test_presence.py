"""Check presence on a real Redis: several devices and gateways, a Redis that lost its data, a dead gateway."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from realtime.aio import tasks
from realtime.conf import RealtimeConf
from realtime.presence.presence import Presence, Stats
from tests.support.redis import Redis
from tests.support.waiting import until_answer


@asynccontextmanager
async def running(redis: Redis, name: str, conf: RealtimeConf) -> AsyncIterator[Presence]:
    """Run a node's presence and end it without a sign-off."""
    presence = Presence(redis, name, conf)
    task = asyncio.create_task(presence.run())
    yield presence
    await tasks.end([task])


async def until(answer: Callable[[], Awaitable[Any]], wanted: Any) -> None:
    await until_answer(answer, lambda seen: seen == wanted, f"{wanted}")


@pytest.fixture
def fast(conf: RealtimeConf) -> RealtimeConf:
    """Shorten the leases; those of living but delayed nodes also expire, until their next update."""
    return replace(conf, presence_lease=1.5)


async def test_user_is_online_from_first_to_last_device(redis: Redis, conf: RealtimeConf) -> None:
    async with running(redis, "a", conf) as here, running(redis, "b", conf) as there:
        here.opened(7, "phone")
        there.opened(7, "laptop")
        here.opened(8, "tablet")
        await until(here.stats, Stats(2, 3, 2))
        here.closed(7, "phone")
        await until(here.stats, Stats(2, 2, 2))
        assert (await there.status(7)).is_online
        there.closed(7, "laptop")
        await until(here.stats, Stats(1, 1, 2))
        status = await here.status(7)
        assert not status.is_online
        assert status.last_offline_at >= status.last_online_at > 0
    assert await redis.hget("user:status:7", "is_online") == b"false"
    assert 29 * 86_400 < await redis.ttl("user:status:7") <= 30 * 86_400


async def test_unknown_user_has_no_presence(redis: Redis, conf: RealtimeConf) -> None:
    status = await Presence(redis, "a", conf).status(99)
    assert (status.is_online, status.last_seen) == (False, 0)


async def test_dead_node_is_swept_after_its_lease(redis: Redis, fast: RealtimeConf) -> None:
    async with running(redis, "kept", fast) as kept:
        async with running(redis, "doomed", fast) as doomed:
            doomed.opened(7, "phone")
            kept.opened(8, "laptop")
            await until(kept.stats, Stats(2, 2, 2))
        await until(kept.stats, Stats(1, 1, 1))

        async def online() -> list[bool]:
            return [(await kept.status(user)).is_online for user in (7, 8)]

        await until(online, [False, True])


async def test_stopping_node_marks_its_users_offline(redis: Redis, conf: RealtimeConf) -> None:
    async with running(redis, "kept", conf) as kept:
        async with running(redis, "leaving", conf) as leaving:
            leaving.opened(7, "phone")
            await until(kept.stats, Stats(1, 1, 2))
        await leaving.stop()
        assert await kept.stats() == Stats(0, 0, 1)


async def test_presence_is_restored_after_redis_loss(redis: Redis, fast: RealtimeConf) -> None:
    async with running(redis, "a", fast) as presence:
        for number in range(1_200):
            presence.opened(number + 1, f"c{number}")
        await until(presence.stats, Stats(1_200, 1_200, 1))
        await redis.flushall()
        await until(presence.stats, Stats(1_200, 1_200, 1))


async def test_repeated_connection_counts_once(redis: Redis, conf: RealtimeConf) -> None:
    async with running(redis, "a", conf) as presence:
        for _ in range(3):
            presence.opened(7, "phone")
            await until(presence.stats, Stats(1, 1, 1))
        presence.closed(7, "phone")
        presence.closed(7, "phone")
        await until(presence.stats, Stats(0, 0, 1))
