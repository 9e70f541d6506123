"""Check the hub on a real Redis and the stock layer: no gap, repeat or disorder, whatever the layer drops."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence

import pytest
from prometheus_client import REGISTRY

from realtime.conf import RealtimeConf
from realtime.exceptions import RedisUnavailable
from realtime.feeds.log import Appended, LogSlice, Position
from realtime.feeds.publication import AskAccess, DropUser, Publication, encode_publication
from realtime.hub import hub, recovery
from realtime.hub.batch import Batch
from realtime.hub.resume import Resume
from realtime.redis.client import Redis
from tests.support.hub import HubNotes, Listener, World
from tests.support.waiting import until


@pytest.fixture(params=["ours", "stock"])
async def world(redis: Redis, conf: RealtimeConf, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    world = World(redis, conf, request.param)
    world.hub.start()
    yield world
    await world.stop()


async def test_members_receive_stamped_publications_in_order(world: World) -> None:
    listeners = [Listener(), Listener()]
    for listener in listeners:
        [joined] = await world.hub.subscribe(listener, ["group:g"])
        assert (joined.feed, joined.position.offset) == ("group:g", 0)
    for _ in range(20):
        await world.publish("group:g")
    for listener in listeners:
        await listener.until(lambda listener=listener: len(listener.frames) == 20)
        assert listener.offsets == list(range(1, 21))
        assert [frame["n"] for frame in listener.frames] == list(range(1, 21))
        assert {(frame["feed"], frame["epoch"]) for frame in listener.frames} == {("group:g", joined.position.epoch)}


async def test_age_is_measured_only_for_delivered_publications(world: World) -> None:
    def taken() -> float:
        return REGISTRY.get_sample_value("chatws_event_age_seconds_count") or 0.0

    listener = Listener()
    [joined] = await world.hub.subscribe(listener, ["group:g"])
    before = taken()
    entry = encode_publication(Publication("p", b"{}"))
    for feed, offset in (("group:unheard", 1), ("group:g", 7)):
        world.hub._publication(feed, Appended(joined.position.epoch, offset, ""), entry, 1)
    assert world.hub._entered == []
    await world.publish("group:g")
    await listener.until(lambda: listener.offsets == [1])
    await asyncio.sleep(0)  # the turn in which it was delivered
    assert taken() - before <= 1


async def test_gap_is_filled_before_later_publications(world: World) -> None:
    listener = Listener()
    await world.hub.subscribe(listener, ["group:g"])
    await world.append_untold("group:g")
    await world.append_untold("group:g")
    await world.publish("group:g")
    await listener.until(lambda: len(listener.frames) == 3)
    assert listener.offsets == [1, 2, 3]


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


async def test_concurrent_join_does_not_repeat_its_position(world: World) -> None:
    first, late = Listener(), Listener()
    [joined] = await world.hub.subscribe(first, ["group:g"])
    publication, place = await world.append_untold("group:g")
    world.hub._publication("group:g", place, encode_publication(publication))
    [joined] = await world.hub.subscribe(late, ["group:g"])
    assert joined.position.offset == 1
    await world.publish("group:g")
    await late.until(lambda: late.offsets)
    assert (first.offsets, late.offsets) == ([1, 2], [2])


async def test_unordered_and_repeated_publications_are_delivered_in_order(world: World) -> None:
    listener = Listener()
    await world.hub.subscribe(listener, ["group:g"])
    written = [await world.append_untold("group:g") for _ in range(6)]
    for publication, place in [written[2], written[0], written[0], written[5], *written, written[1]]:
        await world.tell("group:g", publication, place)
    await world.publish("group:g")
    await listener.until(lambda: len(listener.frames) >= 7)
    assert listener.offsets == [1, 2, 3, 4, 5, 6, 7]


async def test_late_member_starts_at_its_position(world: World) -> None:
    first, second = Listener(), Listener()
    await world.hub.subscribe(first, ["group:g"])
    for _ in range(3):
        await world.publish("group:g")
    await first.until(lambda: len(first.frames) == 3)
    [joined] = await world.hub.subscribe(second, ["group:g"])
    assert joined.position.offset == 3
    await world.publish("group:g")
    await second.until(lambda: second.offsets == [4])


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


async def test_removal_is_the_last_frame_delivered(world: World) -> None:
    removed, other = Listener(user_id=7), Listener(user_id=8)
    heard = HubNotes()
    world.hub.listen(heard)
    for listener in (removed, other):
        await world.hub.subscribe(listener, ["group:g"])
    await world.publish("group:g")
    await world.publish("group:g", DropUser(7))
    for _ in range(3):
        await world.publish("group:g")
    await other.until(lambda: len(other.frames) == 5)
    assert removed.offsets == [1, 2]
    assert removed.dropped_from == [("group:g", 2)]
    assert heard.removals == [(7, "group:g")]
    assert world.hub.feeds_of(removed) == set()


async def test_missed_removal_applies_when_the_gap_is_filled(world: World) -> None:
    removed = Listener(user_id=7)
    await world.hub.subscribe(removed, ["group:g"])
    publication = world.publication(DropUser(7))
    await world.log.append("group:g", "topic", [("1-0", publication.id, encode_publication(publication))])
    await world.publish("group:g")
    await removed.until(lambda: removed.dropped_from)
    assert removed.offsets == [1]


async def test_user_removed_while_joining_is_not_subscribed(world: World) -> None:
    other, late = Listener(user_id=8), Listener(user_id=7)
    await world.hub.subscribe(other, ["group:g"])
    joining = asyncio.create_task(world.hub.subscribe(late, ["group:g", "group:slow"]))
    await asyncio.sleep(0)
    feed = world.hub._feeds["group:g"]
    assert late in feed.subscribing
    world.hub._publication("group:g", Appended(feed.epoch, 1, ""), encode_publication(world.publication(DropUser(7))))
    assert [joined.feed for joined in await joining] == ["group:slow"]


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


async def test_access_request_reaches_members_of_the_feed(world: World) -> None:
    listener = Listener()
    await world.hub.subscribe(listener, ["user:1"])
    await world.publish("user:1", AskAccess("group:g"))
    await listener.until(lambda: listener.asked == ["group:g"])


async def test_leaving_takes_effect_at_once(world: World) -> None:
    listener, other = Listener(), Listener()
    await world.hub.subscribe(listener, ["group:g"])
    await world.hub.subscribe(other, ["group:g"])
    assert world.hub.unsubscribe(listener, "group:g")
    assert not world.hub.unsubscribe(listener, "group:g")
    await world.publish("group:g")
    await other.until(lambda: other.offsets == [1])
    assert listener.frames == []


async def test_unused_feed_is_unsubscribed_and_can_be_rejoined(world: World) -> None:
    listener = Listener()
    await world.hub.subscribe(listener, ["group:g"])
    await world.publish("group:g")
    await listener.until(lambda: listener.offsets == [1])
    world.hub.unsubscribe(listener, "group:g")
    await until(lambda: not world.hub._feeds, what="the feed is let go")
    await world.publish("group:g")
    [joined] = await world.hub.subscribe(listener, ["group:g"])
    assert joined.position.offset == 2
    await world.publish("group:g")
    await listener.until(lambda: listener.offsets == [1, 3])


async def test_random_joins_and_leaves_show_no_gap(world: World) -> None:
    stop = asyncio.Event()

    async def write() -> None:
        while not stop.is_set():
            await world.publish("group:g")

    async def come_and_go() -> list[list[int]]:
        seen = []
        for _ in range(15):
            listener = Listener()
            [joined] = await world.hub.subscribe(listener, ["group:g"])
            await listener.until(lambda listener=listener: len(listener.frames) >= 5)
            world.hub.unsubscribe(listener, "group:g")
            seen.append([joined.position.offset, *listener.offsets])
        return seen

    writer = asyncio.create_task(write())
    for runs in await asyncio.gather(*(come_and_go() for _ in range(4))):
        for offsets in runs:
            assert offsets == list(range(offsets[0], offsets[0] + len(offsets)))
    stop.set()
    await writer


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


async def test_subscribers_of_a_feed_share_one_subscription(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    added: list[str] = []
    add = world.layer.group_add

    async def counted(group: str, channel: str) -> None:
        added.append(group)
        await add(group, channel)

    monkeypatch.setattr(world.layer, "group_add", counted)
    await asyncio.gather(*(world.hub.subscribe(Listener(), ["group:g"]) for _ in range(20)))
    assert added.count("feed.group.g") == 1


async def test_publications_of_one_turn_are_delivered_together(world: World) -> None:
    batches: list[int] = []

    class Counting(Listener):
        def deliver(self, batch: Batch) -> None:
            batches.append(len(batch.frames))
            super().deliver(batch)

    listener = Counting()
    await world.hub.subscribe(listener, ["group:g"])
    places = [await world.append_untold("group:g") for _ in range(3)]
    for publication, place in places:
        world.hub._publication("group:g", place, encode_publication(publication))
    await listener.until(lambda: len(listener.frames) == 3)
    assert batches == [3]


async def test_publication_before_the_first_position_is_read_later(
    redis: Redis, conf: RealtimeConf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "SUBSCRIBED_SECONDS", 1_000)
    world = World(redis, conf, check_seconds=1_000)
    world.hub.start()
    ensure = world.log.ensure

    async def meanwhile(feed: str) -> Position:
        position = await ensure(feed)
        await world.publish(feed)
        while not world.hub._feeds[feed].dirty:
            await asyncio.sleep(0)
        return position

    monkeypatch.setattr(world.log, "ensure", meanwhile)
    listener = Listener()
    [joined] = await world.hub.subscribe(listener, ["group:g"])
    await listener.until(lambda: listener.offsets)
    assert (joined.position.offset, listener.offsets) == (0, [1])
    await world.stop()


async def test_join_during_an_unsubscribe_receives_publications(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    discarding, goes_on = asyncio.Event(), asyncio.Event()
    discard = world.layer.group_discard

    async def slow(group: str, channel: str) -> None:
        discarding.set()
        await goes_on.wait()
        await discard(group, channel)

    monkeypatch.setattr(world.layer, "group_discard", slow)
    first, second = Listener(), Listener()
    await world.hub.subscribe(first, ["group:g"])
    world.hub.unsubscribe(first, "group:g")
    await discarding.wait()
    joining = asyncio.create_task(world.hub.subscribe(second, ["group:g"]))
    await asyncio.sleep(0)
    await world.publish("group:g")
    goes_on.set()
    [joined] = await joining
    assert joined.position.offset == 1
    await world.publish("group:g")
    await second.until(lambda: second.offsets == [2])


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
