"""Check a resuming connection: it receives all it missed, in order and once, or is notified of the loss."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from realtime.conf import RealtimeConf
from realtime.exceptions import FeedUnavailable, RedisUnavailable
from realtime.feeds.log import Position
from realtime.feeds.publication import DropUser
from realtime.hub import resume as limits
from realtime.hub.resume import Resume, Subscribed
from tests.support.hub import Listener, World
from tests.support.redis import Redis

FEED = "group:g"


@pytest.fixture
async def world(redis: Redis, conf: RealtimeConf) -> AsyncIterator[World]:
    world = World(redis, conf)
    world.hub.start()
    yield world
    await world.stop()


async def resumed(world: World, listener: Listener, epoch: str, offset: int) -> Subscribed:
    [joined] = await world.hub.subscribe(listener, [FEED], Resume({FEED: Position(epoch, offset)}))
    assert joined.resumed
    return joined


def offsets(joined: Subscribed) -> list[int]:
    assert joined.tail is not None
    return [json.loads(frame)["offset"] for frame in joined.tail]


async def test_tail_fills_the_gap_before_live_frames(world: World) -> None:
    other, back = Listener(), Listener()
    [first] = await world.hub.subscribe(other, [FEED])
    for _ in range(5):
        await world.publish(FEED)
    await other.until(lambda: len(other.frames) == 5)
    joined = await resumed(world, back, first.position.epoch, 2)
    assert joined.position.offset == 5
    assert offsets(joined) == [3, 4, 5]
    assert [json.loads(frame) for frame in joined.tail or ()] == other.frames[2:]
    await world.publish(FEED)
    await back.until(lambda: back.offsets == [6])


async def test_empty_tail_needs_no_log_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    [first] = await world.hub.subscribe(Listener(), [FEED])
    monkeypatch.setattr(world.log, "tail", None)
    joined = await resumed(world, Listener(), first.position.epoch, 0)
    assert (joined.tail, joined.position.offset) == ([], 0)


async def test_other_epoch_is_not_recovered(world: World) -> None:
    await world.publish(FEED)
    assert (await resumed(world, Listener(), "of long ago", 1)).tail is None


async def test_log_lost_before_a_resume_is_reported_once(redis: Redis, conf: RealtimeConf) -> None:
    world = World(redis, conf, check_seconds=1_000)
    world.hub.start()
    other, back = Listener(), Listener()
    [first] = await world.hub.subscribe(other, [FEED])
    for _ in range(3):
        await world.publish(FEED)
    await other.until(lambda: len(other.frames) == 3)
    await redis.flushall()
    joined = await resumed(world, back, first.position.epoch, 1)
    assert joined.tail is None
    assert joined.position == await world.log.ensure(FEED)
    assert joined.position.epoch != first.position.epoch
    assert (other.resets, back.resets) == ([joined.position], [])
    await world.hub.check_all()
    await world.publish(FEED)
    await back.until(lambda: back.offsets == [1])
    assert back.resets == []
    await world.stop()


async def test_epoch_known_to_the_client_first_is_recovered(redis: Redis, conf: RealtimeConf) -> None:
    """Another process noticed the lost log before this one, and the client was connected there."""
    world = World(redis, conf, check_seconds=1_000)
    world.hub.start()
    other, back = Listener(), Listener()
    await world.hub.subscribe(other, [FEED])
    await world.publish(FEED)
    await other.until(lambda: len(other.frames) == 1)
    await redis.flushall()
    for _ in range(2):
        await world.append_untold(FEED)
    epoch = (await world.log.ensure(FEED)).epoch
    joined = await resumed(world, back, epoch, 1)
    assert (offsets(joined), joined.position.epoch, back.resets) == ([2], epoch, [])
    await world.stop()


async def test_offset_beyond_the_log_is_not_recovered(world: World) -> None:
    [first] = await world.hub.subscribe(Listener(), [FEED])
    await world.publish(FEED)
    assert (await resumed(world, Listener(), first.position.epoch, 2)).tail is None


async def test_trimmed_log_is_not_recovered(redis: Redis, conf: RealtimeConf) -> None:
    world = World(redis, conf, feed_publications=3)
    world.hub.start()
    [first] = await world.hub.subscribe(Listener(), [FEED])
    for _ in range(5):
        await world.append_untold(FEED)
    back = Listener()
    await world.publish(FEED)
    assert (await resumed(world, back, first.position.epoch, 1)).tail is None
    world.hub.unsubscribe(back, FEED)
    await world.stop()


async def test_at_most_256_publications_are_recovered(world: World) -> None:
    [first] = await world.hub.subscribe(Listener(), [FEED])
    watcher = Listener()
    await world.hub.subscribe(watcher, [FEED])
    for _ in range(limits.MAX_PUBLICATIONS + 1):
        await world.append_untold(FEED)
    await world.hub.check_all()
    await watcher.until(lambda: len(watcher.frames) == limits.MAX_PUBLICATIONS + 1)
    epoch = first.position.epoch
    assert (await resumed(world, Listener(), epoch, 0)).tail is None
    assert len((await resumed(world, Listener(), epoch, 1)).tail or ()) == limits.MAX_PUBLICATIONS


async def test_recovery_is_limited_by_bytes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    [first] = await world.hub.subscribe(Listener(), [FEED])
    epoch = first.position.epoch
    for _ in range(5):
        await world.publish(FEED)
    await world.hub.check_all()
    monkeypatch.setattr(limits, "MAX_BYTES", 40)
    assert (await resumed(world, Listener(), epoch, 0)).tail is None
    monkeypatch.undo()
    tight = Resume({FEED: Position(epoch, 0)}, bytes=40)
    [joined] = await world.hub.subscribe(Listener(), [FEED], tight)
    assert joined.tail is None
    assert tight.bytes == 40
    tight.bytes = 4_000
    [joined] = await world.hub.subscribe(Listener(), [FEED], tight)
    assert offsets(joined) == [1, 2, 3, 4, 5]
    assert tight.bytes < 4_000


async def test_recovery_is_limited_by_number_of_feeds(world: World) -> None:
    names = ["group:a", "group:b", "group:c"]
    first = await world.hub.subscribe(Listener(), names)
    for name in names:
        await world.publish(name)
    points = {joined.feed: Position(joined.position.epoch, 0) for joined in first}
    joined = await world.hub.subscribe(Listener(), names, Resume(points, feeds=2))
    assert [one.tail is not None for one in joined] == [True, True, False]


async def test_existing_subscriber_gets_no_tail(world: World) -> None:
    listener = Listener()
    [first] = await world.hub.subscribe(listener, [FEED])
    await world.publish(FEED)
    await listener.until(lambda: listener.offsets == [1])
    [again] = await world.hub.subscribe(listener, [FEED], Resume({FEED: Position(first.position.epoch, 0)}))
    assert (again.resumed, again.tail, again.position.offset) == (False, None, 1)


async def test_resume_ahead_of_the_process_waits(world: World) -> None:
    other = Listener()
    [first] = await world.hub.subscribe(other, [FEED])
    for _ in range(3):
        await world.append_untold(FEED)
    joined = await resumed(world, Listener(), first.position.epoch, 2)
    assert joined.position.offset >= 2
    assert offsets(joined) == list(range(3, joined.position.offset + 1))
    await other.until(lambda: other.offsets == [1, 2, 3])


async def test_removal_in_a_tail_is_not_applied(world: World) -> None:
    other, back = Listener(user_id=8), Listener(user_id=7)
    [first] = await world.hub.subscribe(other, [FEED])
    await world.publish(FEED, DropUser(7))
    await other.until(lambda: other.offsets == [1])
    assert offsets(await resumed(world, back, first.position.epoch, 0)) == [1]
    await world.publish(FEED)
    await back.until(lambda: back.offsets == [2])
    assert back.dropped_from == []


async def test_removal_during_the_tail_read_prevents_subscribing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    other, back = Listener(user_id=8), Listener(user_id=7)
    [first] = await world.hub.subscribe(other, [FEED])
    await world.publish(FEED)
    await other.until(lambda: other.offsets == [1])
    read = world.log.tail

    async def removed_meanwhile(*arguments: object) -> object:
        await world.publish(FEED, DropUser(7))
        await other.until(lambda: 2 in other.offsets)
        return await read(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(world.log, "tail", removed_meanwhile)
    assert await world.hub.subscribe(back, [FEED], Resume({FEED: Position(first.position.epoch, 0)})) == []
    await world.publish(FEED)
    await other.until(lambda: 3 in other.offsets)
    assert back.frames == []


async def test_resume_on_a_busy_feed_is_gapless(world: World) -> None:
    other = Listener()
    [first] = await world.hub.subscribe(other, [FEED])
    stop = asyncio.Event()

    async def write() -> None:
        while not stop.is_set():
            await world.publish(FEED)

    async def come_and_go() -> None:
        offset = 0
        for _ in range(20):
            back = Listener()
            joined = await resumed(world, back, first.position.epoch, offset)
            if joined.tail is None:  # more than 256 behind
                seen = [joined.position.offset]
            else:
                seen = [offset, *offsets(joined)]
                assert seen[-1] == joined.position.offset
            await back.until(lambda back=back: len(back.frames) >= 3)
            world.hub.unsubscribe(back, FEED)
            seen += back.offsets
            assert seen == list(range(seen[0], seen[0] + len(seen)))
            offset = seen[-1]

    writer = asyncio.create_task(write())
    await asyncio.gather(*(come_and_go() for _ in range(4)))
    stop.set()
    await writer


async def test_failed_tail_read_omits_only_that_feed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    names, other = ["group:a", "group:b"], Listener()
    first = await world.hub.subscribe(other, names)
    for name in names:
        await world.publish(name)
        await world.publish(name)
    await other.until(lambda: len(other.frames) == 4)  # before that no publication was missed
    points = {joined.feed: Position(joined.position.epoch, 1) for joined in first}
    read = world.log.tail

    async def away(feed: str, *arguments: object) -> object:
        if feed == "group:b":
            raise RedisUnavailable("Redis is away")
        return await read(feed, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(world.log, "tail", away)
    back = Listener()
    joined = await world.hub.subscribe(back, names, Resume(points))
    assert [one.feed for one in joined] == ["group:a"]
    assert world.hub.feeds_of(back) == {"group:a"}


async def test_join_without_redis_raises_feed_unavailable(conf: RealtimeConf, redis: Redis) -> None:
    world = World(redis, conf)  # not started, so no feed opens
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("realtime.hub.local_feeds.OPEN_SECONDS", 0.1)
        with pytest.raises(FeedUnavailable):
            await world.hub.subscribe(Listener(), [FEED], Resume({FEED: Position("e", 1)}))
    await world.stop()


async def test_remembered_position_resumes_beyond_the_limits(world: World) -> None:
    names = ["group:a", "group:b", "group:c"]
    first = await world.hub.subscribe(Listener(), names)
    used_up = Resume(feeds=0, bytes=0)
    for joined in first:
        await world.publish(joined.feed)
        used_up.remember_position(joined.feed, joined.position)
    assert [one.tail is not None for one in await world.hub.subscribe(Listener(), names, used_up)] == [True] * 3
