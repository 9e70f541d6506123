"""Check how the hub finds what it missed: position checks, gaps that cannot be filled, resets."""

import json
from collections.abc import Sequence

import pytest

from realtime.conf import RealtimeConf
from realtime.exceptions import RedisUnavailable
from realtime.feeds.log import LogSlice, Position
from realtime.hub import hub, recovery
from realtime.hub.resume import Resume
from tests.support.hub import HubNotes, Listener, World
from tests.support.redis import Redis


async def test_position_check_finds_a_missed_publication(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "SUBSCRIBED_SECONDS", 1_000)
    listener = Listener()
    await world.hub.subscribe(listener, ["group:g"])
    await world.append_untold("group:g")
    await listener.until(lambda: listener.offsets == [1])


async def test_new_feed_on_a_foreign_layer_is_read_again(redis: Redis, conf: RealtimeConf) -> None:
    world = World(redis, conf, "stock", check_seconds=1_000)
    world.hub.start()
    listener = Listener()
    await world.hub.subscribe(listener, ["group:g"])
    await world.append_untold("group:g")
    await listener.until(lambda: listener.offsets == [1])
    await world.stop()


async def test_unfillable_gap_is_a_reset(redis: Redis, conf: RealtimeConf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "SUBSCRIBED_SECONDS", 1_000)
    world = World(redis, conf, check_seconds=1_000, feed_publications=2)
    world.hub.start()
    listener = Listener()
    await world.hub.subscribe(listener, ["group:g"])
    await world.publish("group:g")
    await listener.until(lambda: listener.offsets == [1])
    for _ in range(5):
        await world.append_untold("group:g")
    await world.publish("group:g")  # 7, and the log holds 6 and 7
    await listener.until(lambda: listener.resets)
    assert listener.resets[0].offset == 7
    await world.publish("group:g")
    await listener.until(lambda: listener.offsets == [1, 8])
    await world.stop()


async def test_emptied_redis_is_a_reset_with_new_epoch(world: World) -> None:
    listener = Listener()
    [joined] = await world.hub.subscribe(listener, ["group:g"])
    await world.publish("group:g")
    await listener.until(lambda: listener.offsets == [1])
    await world.redis.flushall()
    await listener.until(lambda: listener.resets)
    assert listener.resets[0].epoch != joined.position.epoch
    assert listener.resets[0].offset == 0
    await world.publish("group:g")
    await listener.until(lambda: len(listener.frames) == 2)
    assert listener.frames[1]["epoch"] == listener.resets[0].epoch
    assert listener.frames[1]["offset"] == 1


async def test_rolled_back_redis_is_a_reset_with_new_epoch(world: World) -> None:
    listener = Listener()
    [joined] = await world.hub.subscribe(listener, ["group:g"])
    for _ in range(3):
        await world.publish("group:g")
    await listener.until(lambda: len(listener.frames) == 3)
    meta, log = "chatws:{group:g}:meta", "chatws:{group:g}:log"
    await world.redis.rpop(log)
    await world.redis.hset(meta, mapping={"offset": 2, "id": "p2"})
    await listener.until(lambda: listener.resets)
    assert listener.resets[0].epoch != joined.position.epoch


async def test_epoch_that_ended_never_comes_back(world: World) -> None:
    """Restore a backup twice: the second time Redis has the epoch that ended after the first."""
    listener = Listener()
    [joined] = await world.hub.subscribe(listener, ["group:g"])
    backup = {key: await world.redis.dump(key) for key in await world.redis.keys("chatws:{group:g}:*")}
    await world.publish("group:g")
    await listener.until(lambda: listener.offsets == [1])
    for number in (1, 2):
        for key in await world.redis.keys("chatws:{group:g}:*"):
            await world.redis.delete(key)
        for key, value in backup.items():
            await world.redis.restore(key, 0, value or b"")
        await listener.until(lambda number=number: len(listener.resets) == number)
    epochs = {joined.position.epoch, *(position.epoch for position in listener.resets)}
    assert len(epochs) == 3
    [position] = await world.log.positions(["group:g"])
    assert position is not None
    assert position.epoch == listener.resets[-1].epoch


async def test_reset_pauses_a_subscriber_until_it_rejoins(world: World) -> None:
    careful, other = Listener(), Listener()
    careful.goes_on = False
    for listener in (careful, other):
        await world.hub.subscribe(listener, ["group:g"])
    await world.publish("group:g")
    await careful.until(lambda: careful.offsets == [1])
    await world.redis.flushall()
    await careful.until(lambda: careful.resets)
    await world.publish("group:g")
    await world.publish("group:g")
    await other.until(lambda: len(other.frames) == 3)
    assert careful.offsets == [1]
    [joined] = await world.hub.subscribe(careful, ["group:g"], Resume({"group:g": careful.resets[0]}))
    assert [json.loads(frame)["offset"] for frame in joined.tail or ()] == [1, 2]


@pytest.mark.parametrize("layer", ["ours", "stock"])
async def test_many_feeds_are_checked_in_chunks(
    redis: Redis, conf: RealtimeConf, monkeypatch: pytest.MonkeyPatch, layer: str
) -> None:
    monkeypatch.setattr(recovery, "CHECKED_AT_ONCE", 3)
    world = World(redis, conf, layer, check_seconds=1_000)  # so that no other check runs meanwhile
    world.hub.start()
    asked: list[int] = []
    positions = world.log.positions

    async def counted(names: Sequence[str]) -> list[Position | None]:
        asked.append(len(names))
        return await positions(names)

    monkeypatch.setattr(world.log, "positions", counted)
    await world.hub.subscribe(Listener(), [f"group:{number}" for number in range(7)])
    asked.clear()
    await world.hub.check_all()
    assert asked == [3, 3, 1]
    await world.stop()


async def test_layer_reconnect_checks_all_feeds_and_calls_back(
    redis: Redis, conf: RealtimeConf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "SUBSCRIBED_SECONDS", 1_000)
    world = World(redis, conf, check_seconds=1_000)
    heard = HubNotes()
    world.hub.listen(heard)
    world.hub.start()
    listener = Listener()
    await world.hub.subscribe(listener, ["group:g"])
    connection = world.layer._get_layer()._shards[0]
    connection._connection._writer.transport.abort()
    await world.append_untold("group:g")
    await listener.until(lambda: listener.offsets == [1])
    assert heard.reconnects == 1
    await world.stop()


@pytest.mark.parametrize("layer", ["ours", "stock"])
async def test_reassigned_offset_is_not_taken_for_the_next(
    redis: Redis, conf: RealtimeConf, monkeypatch: pytest.MonkeyPatch, layer: str
) -> None:
    """Lose offsets in Redis and assign 1 and 2 again; the hub is at 2, and only the new 3 arrives."""
    monkeypatch.setattr(hub, "SUBSCRIBED_SECONDS", 1_000)
    world = World(redis, conf, layer, check_seconds=1_000)  # no check finds the loss before
    world.hub.start()
    listener = Listener()
    await world.hub.subscribe(listener, ["group:g"])
    for _ in range(2):
        await world.publish("group:g")
    await listener.until(lambda: listener.offsets == [1, 2])
    keys = ["chatws:{group:g}:log", "chatws:{group:g}:ids"]
    await world.redis.delete(*keys)
    await world.redis.hset("chatws:{group:g}:meta", mapping={"offset": 0, "id": ""})
    world.count = 10
    await world.append_untold("group:g")
    await world.append_untold("group:g")
    await world.publish("group:g")
    await listener.until(lambda: listener.resets)
    assert listener.offsets == [1, 2]
    await world.stop()


async def test_failed_log_read_is_retried(redis: Redis, conf: RealtimeConf, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(redis, conf, check_seconds=1_000)
    world.hub.start()
    listener = Listener()
    await world.hub.subscribe(listener, ["group:g"])
    read = world.log.read
    failures = 2

    async def sometimes(feed: str, after: int, limit: int) -> LogSlice:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise RedisUnavailable("Redis is away")
        return await read(feed, after, limit)

    monkeypatch.setattr(hub, "SUBSCRIBED_SECONDS", 1_000)
    monkeypatch.setattr(world.log, "read", sometimes)
    await world.append_untold("group:g")
    await world.publish("group:g")
    await listener.until(lambda: listener.offsets == [1, 2])
    await world.stop()


@pytest.mark.parametrize(("layer", "seconds"), [("stock", 2), ("ours", 10)])
async def test_foreign_layer_is_checked_more_often(
    redis: Redis, conf: RealtimeConf, monkeypatch: pytest.MonkeyPatch, layer: str, seconds: int
) -> None:
    checked_every: list[float] = []
    run = recovery.Recovery.run

    async def quick(self: recovery.Recovery, every: float) -> None:
        checked_every.append(every)
        await run(self, 0.05)

    monkeypatch.setattr(hub, "SUBSCRIBED_SECONDS", 1_000)
    monkeypatch.setattr(recovery.Recovery, "run", quick)
    world = World(redis, conf, layer, check_seconds=None)
    world.hub.start()
    listener = Listener()
    await world.hub.subscribe(listener, ["group:g"])
    await world.append_untold("group:g")
    await listener.until(lambda: listener.frames)
    assert checked_every == [seconds]
    await world.stop()
