"""Check our pub/sub layer on a real Redis: confirmed subscriptions, and their recovery from lost connections."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from channels_redis.pubsub import RedisPubSubChannelLayer

from realtime.aio.backoff import Backoff
from realtime.exceptions import RedisConnectionLost, RedisRefused
from realtime.layers import redis_pubsub as layers
from realtime.layers.redis_pubsub import RedisPubSubLayer
from tests.support.proxy import Proxy
from tests.support.redis import Redis, RedisServer, free_port
from tests.support.redis_errors import ELEVEN, KINDS, ErrorProxy, is_any_of
from tests.support.waiting import LIMIT, until, until_answer, until_news


class Ears:
    """A layer with one channel that collects its messages."""

    def __init__(self, url: str, kind: Any = RedisPubSubLayer, **options: Any) -> None:
        self.layer = kind(hosts=[url], prefix="chatws:layer", **options)
        self.heard: list[int] = []
        self.back = asyncio.Event()
        self.news = asyncio.Event()

    async def open(self) -> "Ears":
        if isinstance(self.layer, RedisPubSubLayer):
            self.layer.on_resubscribed(self.back.set)
        self.channel = await self.layer.new_channel()
        self._task = asyncio.create_task(self._listen())
        return self

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        await self.layer.flush()

    async def _listen(self) -> None:
        while True:
            message = await self.layer.receive(self.channel)
            self.heard.append(message["n"])
            self.news.set()

    async def until(self, *numbers: int) -> None:
        await until_news(self.news, lambda: self.heard == list(numbers), f"{numbers} are heard, not {self.heard}")

    async def say(self, *numbers: int, group: str = "g") -> None:
        for number in numbers:
            await self.layer.group_send(group, {"n": number})


@pytest.fixture
async def ears(redis: Redis, redis_server: RedisServer) -> AsyncIterator[Ears]:
    ears = await Ears(redis_server.url).open()
    yield ears
    await ears.close()


async def test_group_add_returns_once_subscribed(ears: Ears, redis_server: RedisServer) -> None:
    for number in range(20):
        await ears.layer.group_add(f"g{number}", ears.channel)
        await ears.say(number, group=f"g{number}")
    await ears.until(*range(20))


async def test_concurrent_subscriptions_share_one_command(ears: Ears, redis: Redis) -> None:
    before = (await redis.info("commandstats"))["cmdstat_subscribe"]["calls"]
    await asyncio.gather(*(ears.layer.group_add(f"g{number}", ears.channel) for number in range(300)))
    assert (await redis.info("commandstats"))["cmdstat_subscribe"]["calls"] == before + 1
    await ears.say(1, group="g299")
    await ears.until(1)


async def test_wire_format_is_that_of_the_stock_layer(ears: Ears, redis_server: RedisServer) -> None:
    stock = await Ears(redis_server.url, RedisPubSubChannelLayer).open()
    await stock.layer.group_add("g", stock.channel)
    await ears.layer.group_add("g", ears.channel)
    await until_answer(lambda: numsub(ears), lambda count: count == 2, "both have subscribed")
    await ears.say(1)
    await stock.until(1)
    await stock.say(2)
    await ears.until(1, 2)
    await stock.until(1, 2)
    await stock.close()


async def numsub(ears: Ears, group: str = "g") -> int:
    """Return the number of connections subscribed to a group."""
    connection = ears.layer._get_layer()._shards[0]
    connection._ensure_redis()
    [(_, count)] = await connection._redis.pubsub_numsub(f"chatws:layer__group__{group}")
    return int(count)


async def test_last_of_many_joins_and_leaves_wins(ears: Ears) -> None:
    for _ in range(20):
        await ears.layer.group_add("g", ears.channel)
        await ears.layer.group_discard("g", ears.channel)
    await ears.layer.group_add("g", ears.channel)
    await ears.say(1)
    await ears.until(1)
    await ears.layer.group_discard("g", ears.channel)
    await ears.layer.group_add("other", ears.channel)
    await ears.say(2)
    await ears.say(3, group="other")
    await ears.until(1, 3)


async def test_killed_connections_are_replaced_and_reported(ears: Ears, redis: Redis) -> None:
    await ears.layer.group_add("g", ears.channel)
    await redis.client_kill_filter(_type="pubsub")
    async with asyncio.timeout(LIMIT):
        await ears.back.wait()
    await ears.say(1)
    await ears.until(1)


async def test_redis_restart_resubscribes_and_is_reported(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.start()
    ears = await Ears(server.url).open()
    await ears.layer.group_add("g", ears.channel)
    server.kill()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layers, "CONFIRMED_SECONDS", 0.2)
        with pytest.raises(RedisConnectionLost):
            await ears.layer.group_add("asked for while away", ears.channel)
    assert not ears.back.is_set()
    server.start()
    async with asyncio.timeout(LIMIT):
        await ears.back.wait()
    await ears.say(1)
    await ears.say(2, group="asked for while away")
    await ears.until(1, 2)
    await ears.close()
    server.stop()


async def test_half_open_connection_is_dropped_within_seconds(
    redis: Redis, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "PING_SECONDS", 0.1)
    monkeypatch.setattr(layers, "SILENT_SECONDS", 0.3)
    async with Proxy(redis_server.port) as proxy:
        ears = await Ears(proxy.redis_url).open()
        await ears.layer.group_add("g", ears.channel)
        proxy.drop_silently()
        async with asyncio.timeout(LIMIT):
            await proxy.connected.wait()
        monkeypatch.undo()  # the next connection must survive even on a slow machine
        proxy.restore()
        async with asyncio.timeout(LIMIT):
            await ears.back.wait()
        await ears.say(1)
        await ears.until(1)
        await ears.close()


async def test_cancelled_receiver_is_started_again(ears: Ears) -> None:
    await ears.layer.group_add("g", ears.channel)
    ears.layer._get_layer()._shards[0]._receive_task.cancel()
    async with asyncio.timeout(LIMIT):
        await ears.back.wait()
    await ears.say(1)
    await ears.until(1)


async def test_options_of_the_stock_layer_are_supported(redis_server: RedisServer, redis: Redis) -> None:
    secret = {"symmetric_encryption_keys": ["a key of a test"]}
    one, two = await Ears(redis_server.url, **secret).open(), await Ears(redis_server.url, **secret).open()
    await two.layer.group_add("g", two.channel)
    await one.say(5)
    await two.until(5)
    for ears in (one, two):
        await ears.close()


async def test_abandoned_subscription_can_be_repeated(redis: Redis, redis_server: RedisServer) -> None:
    async with Proxy(redis_server.port) as proxy:
        ears = await Ears(proxy.redis_url).open()
        proxy.stall()
        asking = asyncio.create_task(ears.layer.group_add("g", ears.channel))
        waiting = asyncio.create_task(ears.layer.group_add("g", ears.channel))
        shard = ears.layer._get_layer()._shards[0]
        await until(lambda: shard._waiting, what="the subscription is under way")
        asking.cancel()
        await ears.layer.group_discard("g", ears.channel)
        with pytest.raises(RedisConnectionLost, match="given up"):
            await waiting
        proxy.restore()
        await ears.layer.group_add("g", ears.channel)
        await ears.say(1)
        await ears.until(1)
        await ears.close()


async def test_many_messages_reach_both_layers_in_order(ears: Ears, redis_server: RedisServer) -> None:
    stock = await Ears(redis_server.url, RedisPubSubChannelLayer).open()
    for listener in (stock, ears):
        await listener.layer.group_add("g", listener.channel)
        await listener.layer.group_add("h", listener.channel)
    for group in "gh":
        await until_answer(partial(numsub, ears, group), lambda count: count == 2, "both have subscribed")
    messages = [("gh"[number % 2], {"n": number}) for number in range(layers.PUBLISHED_AT_ONCE + 50)]
    await ears.layer.group_send_all(messages)
    await ears.until(*range(len(messages)))
    await stock.until(*range(len(messages)))
    await stock.close()


async def test_refused_subscription_keeps_the_connection(redis: Redis, redis_server: RedisServer) -> None:
    async with ErrorProxy(redis_server.port) as proxy:
        ears = await Ears(proxy.url).open()
        await ears.layer.group_add("g", ears.channel)
        proxy.answer("BUSY Redis is busy running a script.", is_any_of("SUBSCRIBE"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(layers, "CONFIRMED_SECONDS", 0.3)
            with pytest.raises(RedisRefused, match="BUSY"):
                await asyncio.gather(*(ears.layer.group_add(f"h{number}", ears.channel) for number in range(3)))
        await until(lambda: proxy.refused["SUBSCRIBE"] >= 2, what="it is tried again")
        await ears.say(1)
        await ears.until(1)
        proxy.restore()
        await ears.layer.group_add("h1", ears.channel)
        await ears.say(2, group="h1")
        await ears.until(1, 2)
        assert not ears.back.is_set()
        await ears.close()


@pytest.mark.parametrize("kind", ELEVEN)
async def test_layer_survives_every_refusal(redis: Redis, redis_server: RedisServer, kind: str) -> None:
    async with ErrorProxy(redis_server.port) as proxy:
        ears = await Ears(proxy.url).open()
        await ears.layer.group_add("g", ears.channel)
        _, text = KINDS[kind]
        proxy.answer(text, lambda words: True)
        await until(lambda: proxy.refused["PING"] >= 1, what="a ping is refused")
        proxy.restore()
        await until_answer(lambda: numsub(ears), lambda count: count == 1, "it has subscribed")
        await ears.say(1)
        await ears.until(1)
        await ears.close()


async def test_connections_that_end_soon_wait_longer_each_time(
    ears: Ears, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = []

    async def sleep(self: Backoff) -> None:
        waits.append(self.take())

    monkeypatch.setattr(Backoff, "sleep", sleep)
    await ears.layer.group_add("g", ears.channel)
    for _ in range(4):
        ears.back.clear()
        await redis.client_kill_filter(_type="pubsub")
        async with asyncio.timeout(LIMIT):
            await ears.back.wait()
    monkeypatch.setattr(layers, "HEALTHY_SECONDS", 0)
    await redis.client_kill_filter(_type="pubsub")
    await until(lambda: len(waits) == 5, what="the fifth loss")
    assert waits == [0.05, 0.1, 0.2, 0.4, 0.05]


async def test_silent_redis_ends_an_attempt_to_connect(redis: Redis, redis_server: RedisServer) -> None:
    async with Proxy(redis_server.port) as proxy:
        ears = await Ears(proxy.redis_url).open()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(layers, "SILENT_SECONDS", 0.3)
            proxy.swallow_answers()
            proxy.reset()
            async with asyncio.timeout(LIMIT):
                for _ in range(2):
                    proxy.connected.clear()
                    await proxy.connected.wait()
        proxy.restore()
        await ears.layer.group_add("g", ears.channel)
        await ears.say(1)
        await ears.until(1)
        await ears.close()


async def test_databases_do_not_hear_each_other(redis: Redis, redis_server: RedisServer) -> None:
    here = await Ears(redis_server.url).open()
    there = await Ears(redis_server.url.removesuffix("0") + "3").open()
    for one in (here, there):
        await one.layer.group_add("g", one.channel)
    await here.say(1)
    await there.say(2)
    await here.say(3)
    await here.until(1, 3)
    await there.until(2)
    channels = {channel.decode() for channel in await redis.pubsub_channels("*group*")}
    assert channels == {"chatws:layer__group__g", "chatws:layer:3__group__g"}
    for one in (here, there):
        await one.close()


async def test_channel_that_was_not_confirmed_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """While Redis is away at the start, each try makes a channel: none of them is left."""
    monkeypatch.setattr(layers, "CONFIRMED_SECONDS", 0.05)
    layer = RedisPubSubLayer(hosts=[f"redis://127.0.0.1:{free_port()}"])
    for _ in range(3):
        with pytest.raises(RedisConnectionLost):
            await layer.new_channel()
    inner = layer._get_layer()
    assert (inner.channels, inner._shards[0]._subscribed_to) == ({}, set())
    await layer.flush()
