"""The guards of the feeds' log: a scenario that needs each, and how to disable it."""

import hashlib
from collections.abc import Sequence
from typing import Any

from chatws.events import routes
from realtime.conf import RealtimeConf
from realtime.feeds import log
from realtime.feeds.names import channels_group
from realtime.feeds.publication import DropUser, Publication, encode_publication
from realtime.hub import hub
from realtime.hub.recovery import Recovery
from realtime.redis.scripts import Script
from realtime.relay.publisher import Routed, publication_message
from realtime.relay.watermill import Entry
from tests.faults.guards.hub import no_check
from tests.faults.guards.judging import FEED, Patch, arrives, comes_last, problems
from tests.support.hub import Listener, World

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
    patch.setattr(log, "_feed_append", script)


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
    patch.setattr(Recovery, "check_all", no_check)
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
