"""Check how feeds open and close: subscribers join, leave and come back without a gap."""

import asyncio

import pytest

from realtime.conf import RealtimeConf
from realtime.feeds.log import Appended, Position
from realtime.feeds.publication import DropUser, encode_publication
from realtime.hub import hub
from tests.support.hub import Listener, World
from tests.support.redis import Redis
from tests.support.waiting import LIMIT, until


async def test_user_removed_while_joining_is_not_subscribed(world: World) -> None:
    other, late = Listener(user_id=8), Listener(user_id=7)
    await world.hub.subscribe(other, ["group:g"])
    joining = asyncio.create_task(world.hub.subscribe(late, ["group:g", "group:slow"]))
    await asyncio.sleep(0)
    feed = world.hub._feeds["group:g"]
    assert late in feed.subscribing
    world.hub._publication("group:g", Appended(feed.epoch, 1, ""), encode_publication(world.publication(DropUser(7))))
    assert [joined.feed for joined in await joining] == ["group:slow"]


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


async def test_subscribers_of_a_feed_share_one_subscription(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    added: list[str] = []
    add = world.layer.group_add

    async def counted(group: str, channel: str) -> None:
        added.append(group)
        await add(group, channel)

    monkeypatch.setattr(world.layer, "group_add", counted)
    await asyncio.gather(*(world.hub.subscribe(Listener(), ["group:g"]) for _ in range(20)))
    assert added.count("feed.group.g") == 1


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


async def test_feed_that_closes_while_it_opens_is_opened_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    opens, opening = world.log.ensure, asyncio.Event()
    goes_on = asyncio.Event()

    async def ensure(feed: str) -> Position:
        opening.set()
        await goes_on.wait()
        return await opens(feed)

    monkeypatch.setattr(world.log, "ensure", ensure)
    waiting = asyncio.create_task(world.hub.ensure_subscribed(["group:g"]))
    await opening.wait()
    feed = world.hub._feeds["group:g"]
    world.hub._local._close(feed)  # as the timer does after a subscriber has given up
    goes_on.set()
    async with asyncio.timeout(LIMIT):
        await waiting
    assert world.hub._feeds["group:g"] is not feed
