"""Check presence on a real Redis: several devices and gateways, a Redis that lost its data, a dead gateway."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis import exceptions as redis_errors

from realtime.aio import tasks
from realtime.conf import RealtimeConf
from realtime.presence.presence import Presence, Stats
from realtime.redis import pipeline
from tests.support.redis import Redis, RedisServer, connect
from tests.support.redis_errors import ELEVEN, ErrorProxy
from tests.support.waiting import until_answer, until_news


@asynccontextmanager
async def running(redis: Redis, name: str, conf: RealtimeConf) -> AsyncIterator[Presence]:
    """Run a node's presence and end it without a sign-off."""
    presence = Presence(redis, name, conf)
    task = asyncio.create_task(presence.run())
    try:
        yield presence
    finally:
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


async def test_redis_that_went_back_is_compared_not_counted(redis: Redis, conf: RealtimeConf, tmp_path: Path) -> None:
    """Lose one opening and one closing: the count of connections stays right."""
    server = RedisServer(tmp_path)
    server.start()
    client = connect(server.url)
    async with running(client, "a", conf) as presence:
        presence.opened(7, "phone")
        await until(presence.stats, Stats(1, 1, 1))
        before = {key: await client.dump(key) for key in await client.keys()}
        presence.closed(7, "phone")
        presence.opened(8, "laptop")
        await until(presence.stats, Stats(1, 1, 1))
        await until(lambda: online(presence, 7, 8), [False, True])
        async with client.pipeline(transaction=True) as back:
            back.flushall()
            for key, value in before.items():
                back.restore(key, 0, value)
            await back.execute()
        assert await online(presence, 7, 8) == [True, False]
        presence.opened(9, "tablet")
        await until(lambda: online(presence, 7, 8, 9), [False, True, True])
        assert await presence.stats() == Stats(2, 2, 1)
    await client.aclose()
    await asyncio.to_thread(server.stop)


async def online(presence: Presence, *users: int) -> list[bool]:
    """Return which users are online, by the counts that others read."""
    return [bool(one.connections) and (await presence.status(one.user_id)).is_online
            for one in await presence.of_users(users)]  # fmt: skip


async def test_node_that_never_wrote_more_finds_the_loss_when_it_renews(redis: Redis, fast: RealtimeConf) -> None:
    async with running(redis, "a", fast) as presence:
        presence.opened(7, "phone")
        await until(presence.stats, Stats(1, 1, 1))
        async with redis.pipeline(transaction=True) as back:
            back.hdel("chatws:node:a", "phone").hset("chatws:node:a", mapping={"ghost": 6})
            back.hdel("chatws:online", "7").hset("chatws:online", "6", 1).set("chatws:node:a:mark", 0)
            await back.execute()
        await until(lambda: online(presence, 6, 7), [False, True])
        assert await presence.stats() == Stats(1, 1, 1)


async def test_lost_answer_is_no_lost_presence(
    redis: Redis, conf: RealtimeConf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Lose the connection behind a write that Redis has run: it is written again, and meets its own mark."""
    exchange, losses = pipeline._exchange, ["the first"]

    async def losing(*given: Any) -> Any:
        answers = await exchange(*given)
        if losses:
            raise redis_errors.ConnectionError(losses.pop())
        return answers

    async with running(redis, "a", conf) as presence:
        presence.opened(7, "phone")
        await until(presence.stats, Stats(1, 1, 1))
        monkeypatch.setattr(pipeline, "_exchange", losing)
        presence.opened(7, "laptop")
        await until(presence.stats, Stats(1, 2, 1))
        presence.closed(7, "phone")
        await until(presence.stats, Stats(1, 1, 1))
    assert not losses
    assert "went back in time" not in caplog.text


async def test_nobody_is_removed_as_expired_right_after_redis_went_back(redis: Redis, fast: RealtimeConf) -> None:
    """The leases in Redis are old ones then, and the other nodes need a moment to renew theirs."""
    presence = Presence(redis, "a", replace(fast, presence_lease=1_000))
    await presence._flush()
    await redis.zadd("chatws:nodes", {"other": 1})
    await redis.hset("chatws:node:other", mapping={"phone": 7})
    await redis.set("chatws:node:a:mark", 0)
    await presence._renew(await presence._flush())
    assert await redis.hlen("chatws:node:other") == 1
    presence._quiet_until = 0
    await presence._renew(await presence._flush())
    assert await redis.hlen("chatws:node:other") == 0


@pytest.mark.parametrize("kind", ELEVEN)
async def test_presence_is_true_after_every_refusal(
    redis: Redis, redis_server: RedisServer, conf: RealtimeConf, kind: str
) -> None:
    async with ErrorProxy(redis_server.port) as proxy:
        client = connect(proxy.url)
        async with running(client, "a", conf) as presence:
            presence.opened(7, "phone")
            presence.opened(8, "laptop")
            await until(Presence(redis, "reader", conf).stats, Stats(2, 2, 1))
            proxy.answer_kind(kind)
            presence.closed(7, "phone")
            presence.opened(9, "tablet")
            await until_news(proxy.news, lambda: proxy.refused, "the change is refused")
            presence.opened(8, "watch")
            proxy.restore()
            await until(Presence(redis, "reader", conf).stats, Stats(2, 3, 1))
            assert await online(presence, 7, 8, 9) == [False, True, True]
        await client.aclose()
