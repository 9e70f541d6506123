"""The hub's guards: a scenario that needs each, and how to disable it."""

from typing import Any

from realtime.feeds.log import Appended, LogSlice
from realtime.feeds.publication import decode_publication, encode_publication
from realtime.hub import hub
from realtime.hub.hub import Hub
from realtime.hub.recovery import Recovery
from realtime.hub.subscription import LocalFeed, Subscriber
from tests.faults.guards.judging import FEED, Patch, arrives, comes_last, problems, until
from tests.support.hub import Listener, World

# drop-old: a message that the layer repeats is not delivered again


async def layer_repeats_itself(world: World, patch: Patch) -> set[str]:
    listener = Listener()
    await world.hub.subscribe(listener, [FEED])
    for _ in range(3):
        publication, place = await world.append_untold(FEED)
        for _ in range(2):
            await world.tell(FEED, publication, place)
    await world.publish(FEED)
    await comes_last(listener, 4)
    return problems(listener, [1, 2, 3, 4])


def without_drop_old(patch: Patch) -> None:
    sound = Hub._publication

    def careless(self: Hub, name: str, place: Appended, entry: bytes, at: int | None = None) -> None:
        feed = self._feeds[name]
        if place.offset is not None and place.offset <= feed.offset:
            feed.offset = place.offset - 1
            self._apply(feed, decode_publication(entry))
        else:
            sound(self, name, place, entry)

    patch.setattr(Hub, "_publication", careless)


# gap fill: publications after a gap wait for the missing ones


async def layer_drops_some(world: World, patch: Patch) -> set[str]:
    listener = Listener()
    await world.hub.subscribe(listener, [FEED])
    await world.append_untold(FEED)
    await world.append_untold(FEED)
    await world.publish(FEED)
    await arrives(listener, 3)
    return problems(listener, [1, 2, 3])


def without_gap_fill(patch: Patch) -> None:
    def careless(self: Hub, name: str, place: Appended, entry: bytes, at: int | None = None) -> None:
        feed = self._feeds[name]
        assert place.offset is not None
        feed.offset = place.offset - 1
        self._apply(feed, decode_publication(entry))

    patch.setattr(Hub, "_publication", careless)


# position check: a missed publication that no other follows


async def layer_drops_the_last(world: World, patch: Patch) -> set[str]:
    patch.setattr(hub, "SUBSCRIBED_SECONDS", 1_000)
    listener = Listener()
    await world.hub.subscribe(listener, [FEED])
    await world.publish(FEED)
    await world.append_untold(FEED)
    await arrives(listener, 2)
    return problems(listener, [1, 2])


def without_position_check(patch: Patch) -> None:
    async def nothing(self: Recovery) -> None: ...

    patch.setattr(Recovery, "check_all", nothing)


# recheck after group_add: a foreign layer's group_add returns before Redis has subscribed


async def published_before_redis_subscribed(world: World, patch: Patch) -> set[str]:
    patch.setattr(Recovery, "check_all", no_check)
    listener = Listener()
    await world.hub.subscribe(listener, [FEED])
    await world.append_untold(FEED)
    await arrives(listener, 1)
    return problems(listener, [1])


async def no_check(self: Recovery) -> None: ...


def without_recheck(patch: Patch) -> None:
    patch.setattr(hub, "SUBSCRIBED_SECONDS", 1_000)


# flush before join: publications before the position that the joining member receives


async def joined_in_the_turn_of_a_publication(world: World, patch: Patch) -> set[str]:
    await world.hub.subscribe(Listener(), [FEED])
    publication, place = await world.append_untold(FEED)
    world.hub._publication(FEED, place, encode_publication(publication))
    late = Listener()
    [joined] = await world.hub.subscribe(late, [FEED])
    await world.publish(FEED)
    await arrives(late, 1)
    return problems(late, [2], start=joined.position.offset)


def without_flush(patch: Patch) -> None:
    sound = Hub._attach

    def careless(self: Hub, feed: LocalFeed, member: Subscriber) -> Any:
        pending, feed.pending = feed.pending, []
        position = sound(self, feed, member)
        feed.pending = pending
        return position

    patch.setattr(Hub, "_attach", careless)


# going-back check: a Redis that lost acknowledged writes assigns their offsets again


async def redis_goes_back(world: World, patch: Patch) -> set[str]:
    listener = Listener()
    await world.hub.subscribe(listener, [FEED])
    for _ in range(3):
        await world.publish(FEED)
    keys = await world.redis.keys("chatws:{group:g}:*")
    backup = {key: await world.redis.dump(key) for key in keys}
    for _ in range(2):
        await world.publish(FEED)
    await arrives(listener, 5)
    for key in keys:
        await world.redis.delete(key)
        await world.redis.restore(key, 0, backup[key] or b"")
    world.count = 10
    for _ in range(3):
        await world.publish(FEED)  # 11, 12 and 13 at the offsets 4, 5 and 6
    await until(listener, lambda: listener.resets)
    return set() if listener.resets else {"lost without a word"}


def without_going_back_check(patch: Patch) -> None:
    async def careless(self: Recovery, feed: LocalFeed, rest: LogSlice) -> bool:
        return rest.position.offset > feed.offset and rest.first == feed.offset + 1

    sound = Hub._publication

    def by_offset_only(self: Hub, name: str, place: Appended, entry: bytes, at: int | None = None) -> None:
        sound(self, name, Appended(place.epoch, place.offset, self._feeds[name].last_id), entry)

    patch.setattr(Recovery, "_follows_on", careless)
    patch.setattr(Hub, "_publication", by_offset_only)
