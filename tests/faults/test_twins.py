"""Each guard of delivery and its twin: a scenario keeps every promise with the guard and breaks one without it."""

import asyncio
import hashlib
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest

from chatws.events import routes
from realtime.conf import RealtimeConf
from realtime.feeds import log
from realtime.feeds.log import Appended, LogSlice
from realtime.feeds.names import channels_group
from realtime.feeds.publication import DropUser, Publication, decode_publication, encode_publication
from realtime.hub import hub
from realtime.hub.hub import Hub
from realtime.hub.recovery import Recovery
from realtime.hub.subscription import LocalFeed, Subscriber
from realtime.redis.scripts import Script
from realtime.relay.publisher import Publisher, Routed, publication_message
from realtime.relay.watermill import Entry
from tests.support.hub import Listener, World
from tests.support.redis import Redis

FEED = "group:g"
PATIENCE, SHORT_PATIENCE = 60.0, 1.0
"""Seconds to wait for expected frames: with the guard, where they arrive, and without it, where they may not."""

Patch = pytest.MonkeyPatch


async def arrives(listener: Listener, count: int) -> None:
    """Wait until so many frames have arrived, or until the time is over."""
    await until(listener, lambda: len(listener.frames) >= count)


async def comes_last(listener: Listener, number: int) -> None:
    """Wait until the frame of this number arrives, or until the time is over; repeats arrive before it."""
    await until(listener, lambda: any(frame["n"] == number for frame in listener.frames))


async def until(listener: Listener, condition: Callable[[], Any]) -> None:
    """Wait until a condition holds, or until the time is over."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            await listener.until(condition)


def problems(listener: Listener, expected: Sequence[int], start: int = 0) -> set[str]:
    """Return the errors in the frames of a subscriber that joined at ``start`` and must have these numbers."""
    found = set()
    offsets = [start, *listener.offsets]
    numbers = [frame["n"] for frame in listener.frames]
    for before, after in pairwise(offsets):
        if after <= before:
            found.add("repeated")
        elif after > before + 1:
            found.add("gap")
    if len(numbers) != len(set(numbers)):
        found.add("repeated")
    if numbers != sorted(numbers):
        found.add("disorder")
    if set(expected) - set(numbers):
        found.add("lost")
    return found


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
    patch.setattr(Recovery, "check_all", _never)
    listener = Listener()
    await world.hub.subscribe(listener, [FEED])
    await world.append_untold(FEED)
    await arrives(listener, 1)
    return problems(listener, [1])


async def _never(self: Recovery) -> None: ...


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


# cursor in the append: a worker that considers itself active for longer than ids are kept


async def late_worker_appends_again(world: World, patch: Patch) -> set[str]:
    listener = Listener()
    await world.hub.subscribe(listener, [FEED])
    for _ in range(5):
        await world.publish(FEED)
    await arrives(listener, 5)
    await world.redis.delete("chatws:{group:g}:ids", "chatws:{group:g}:ids:old")
    world.count = 2
    for _ in range(3):
        await world.publish(FEED)  # entries 3, 4 and 5 once more
    await world.publish(FEED)
    await comes_last(listener, 6)
    return problems(listener, [1, 2, 3, 4, 5, 6])


def changed_append(patch: Patch, old: str, new: str) -> None:
    script = Script("feed_append")
    assert script._source.count(old) == 1
    script._source = script._source.replace(old, new)
    script._digest = hashlib.sha1(script._source.encode(), usedforsecurity=False).hexdigest()
    patch.setattr(log, "_append", script)


def without_cursor(patch: Patch) -> None:
    changed_append(patch, "elseif not is_later then", "elseif false then")


# ids outliving the log: a message published again after its entry has left the log


async def resent_in_a_busy_feed(world: World, patch: Patch) -> set[str]:
    world.log._conf = world.conf.__class__(**{**_fields(world.conf), "feed_publications": 3})
    listener = Listener()
    await world.hub.subscribe(listener, [FEED])
    for _ in range(6):
        await world.publish(FEED)
    await arrives(listener, 6)
    again = Publication("p1", b'{"n":1}')
    await world.publisher.publish("topic", [Routed("99-0", FEED, again)])
    world.count = 99
    await world.publish(FEED)
    await comes_last(listener, 100)
    return problems(listener, [1, 2, 3, 4, 5, 6, 100])


def _fields(conf: RealtimeConf) -> dict[str, Any]:
    return {name: getattr(conf, name) for name in conf.__slots__}


def with_ids_bounded_by_the_log(patch: Patch) -> None:
    changed_append(
        patch,
        "if offset then",
        "if offset and offset > feed.offset - #payloads - redis.call('LLEN', log) then",
    )


# removal in the group's feed: the user's feed may be late or silent


async def removed_while_the_user_feed_is_silent(world: World, patch: Patch) -> set[str]:
    patch.setattr(Recovery, "check_all", _never)
    patch.setattr(hub, "SUBSCRIBED_SECONDS", 1_000)
    removed, other = Listener(user_id=7), Listener(user_id=8)
    await world.hub.subscribe(removed, [FEED, "user:7"])
    await world.hub.subscribe(other, [FEED])
    entry = Entry("1-0", {}, payload=b'{"group_id":"g","user_id":7}')
    for feed, publication in routes.ROUTES[routes.MEMBER_REMOVED](entry):
        encoded = encode_publication(publication)
        [place] = await world.log.append(feed, "removed", [(entry.id, publication.id, encoded)])
        if feed == FEED:
            await world.layer.group_send(channels_group(feed), publication_message(feed, place, encoded, entry.id))
    for _ in range(3):
        await world.publish(FEED)
    await arrives(other, 4)
    return {"leaked"} if any("n" in frame for frame in removed.frames) else set()


def removal_in_the_user_feed(patch: Patch) -> None:
    def elsewhere(entry: Entry) -> Sequence[tuple[str, Publication]]:
        (group, told), (user, membership) = routes.member_removed(entry)
        assert isinstance(told.command, DropUser)
        return [
            (group, Publication(told.id, told.payload)),
            (user, Publication(membership.id, membership.payload, told.command)),
        ]

    patch.setattr(routes, "ROUTES", {routes.MEMBER_REMOVED: elsewhere})


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


@dataclass(frozen=True)
class Guard:
    """A guard, the scenario that needs it, how to disable it, and the broken promise then."""

    name: str
    scenario: Callable[[World, Patch], Awaitable[set[str]]]
    off: Callable[[Patch], None]
    breaks: str
    layer: str = "ours"


GUARDS = [
    Guard("drop-old", layer_repeats_itself, without_drop_old, "repeated"),
    Guard("gap fill", layer_drops_some, without_gap_fill, "gap"),
    Guard("position check", layer_drops_the_last, without_position_check, "lost"),
    Guard("recheck after group_add", published_before_redis_subscribed, without_recheck, "lost", layer="stock"),
    Guard("flush before join", joined_in_the_turn_of_a_publication, without_flush, "repeated"),
    Guard("cursor in the append", late_worker_appends_again, without_cursor, "repeated"),
    Guard("ids outliving the log", resent_in_a_busy_feed, with_ids_bounded_by_the_log, "repeated"),
    Guard("removal in the group's feed", removed_while_the_user_feed_is_silent, removal_in_the_user_feed, "leaked"),
    Guard("going-back check", redis_goes_back, without_going_back_check, "lost without a word"),
]  # fmt: skip


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
@pytest.mark.parametrize("on", [True, False], ids=["with", "without"])
async def test_guard(guard: Guard, on: bool, redis: Redis, conf: RealtimeConf, monkeypatch: Patch) -> None:
    if not on:
        guard.off(monkeypatch)
        monkeypatch.setattr(sys.modules[__name__], "PATIENCE", SHORT_PATIENCE)
    world = World(redis, conf, guard.layer)
    world.publisher = Publisher(world.log, world.layer)
    world.hub.start()
    try:
        found = await guard.scenario(world, monkeypatch)
    finally:
        await world.stop()
    if on:
        assert found == set()
    else:
        assert guard.breaks in found
