"""Scripts with more values than Lua passes to one call, about 8,000."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from realtime.conf import RealtimeConf
from realtime.exceptions import RealtimeError
from realtime.feeds.log import FeedLog, Position
from realtime.presence.presence import Presence
from realtime.publishing.intents import Intents, Noted
from realtime.redis import keys
from realtime.redis.scripts import Script
from realtime.relay.dead_letters import DeadLetters
from realtime.relay.lease import Lease
from realtime.relay.topic import Topic
from tests.support.redis import Redis

MANY = 10_001
MAX_FIELDS = 3_500
TOPIC = "chat.t"


def entry_of(fields: int) -> Mapping[bytes, bytes]:
    """Return an entry of so many fields, three of which each entry has."""
    usual = {b"_watermill_message_uuid": b"u", b"metadata": b"\x80", b"payload": b"p"}
    return usual | {b"f%d" % number: b"%d" % number for number in range(fields - 3)}


async def test_feed_takes_and_repeats_10000_entries(redis: Redis, conf: RealtimeConf) -> None:
    feeds = FeedLog(redis, replace(conf, feed_publications=2 * MANY))
    entries = [(f"{number}-0", f"p{number}", b"\x01%d" % number) for number in range(1, MANY + 1)]
    for _ in range(2):
        places = await feeds.append("group:g", TOPIC, entries)
        assert [place.offset for place in places] == list(range(1, MANY + 1))
    log: Any = redis.lrange("chatws:{group:g}:log", 0, -1)
    assert await log == [encoded for _, _, encoded in entries]


async def test_10000_entries_of_a_log_are_read_whole(redis: Redis, conf: RealtimeConf) -> None:
    feeds = FeedLog(redis, replace(conf, feed_publications=2 * MANY))
    wanted = [b"%d" % number for number in range(MANY)]
    [place, *_] = await feeds.append("group:g", TOPIC, [(f"{n + 1}-0", f"p{n}", one) for n, one in enumerate(wanted)])
    assert await feeds.tail("group:g", Position(place.epoch, 0), MANY, MANY, 10 * MANY) == wanted
    assert (await feeds.read("group:g", 0, MANY)).entries == wanted


async def test_log_that_shrinks_by_10000_entries_keeps_the_newest(redis: Any, conf: RealtimeConf) -> None:
    entries = [(f"{number}-0", f"p{number}", b"%d" % number) for number in range(1, MANY + 1)]
    await FeedLog(redis, replace(conf, feed_publications=MANY)).append("group:g", TOPIC, entries)
    await FeedLog(redis, replace(conf, feed_publications=2)).append("group:g", TOPIC, [(f"{MANY + 1}-0", "p", b"last")])
    assert await redis.lrange("chatws:{group:g}:log", 0, -1) == [b"%d" % MANY, b"last"]


async def test_10000_revocations_are_copied_at_once(redis: Any) -> None:
    revoked = [part for number in range(MANY) for part in (f"user:{number}", 1, 2)]
    await Script("auth_revoke").run(
        redis, [keys.revoked(), keys.revoked_version(), keys.revoked_news()], ["1:v", "", *revoked]
    )
    assert await redis.hlen(keys.revoked()) == MANY


async def test_10000_messages_are_published_at_once(redis: Any) -> None:
    channels = [f"channel.{number}" for number in range(MANY)]
    assert await Script("layer_publish").run(redis, [], [part for name in channels for part in (name, "m")]) is None


async def test_intents_are_bounded_in_bytes(redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.publishing.intents.MAX_BYTES", 1_000_000)
    intents = Intents(redis, TOPIC, 60)
    noted = [await intents.note(f"i{number}", b"x" * 30_000) for number in range(100)]
    fitting = noted.index(Noted.FULL)
    assert 10 < fitting < 40
    assert set(noted[fitting:]) == {Noted.FULL}
    assert await intents.note("i0", b"x" * 30_000) is Noted.BEFORE
    assert await redis.memory_usage(intents._intents, samples=0) < 2_000_000


async def test_10000_intents_are_postponed_at_once(redis: Any) -> None:
    intents = Intents(redis, TOPIC, 60)
    ids = [f"i{number}" for number in range(MANY)]
    await redis.zadd(intents._due, dict.fromkeys(ids, 1))
    await intents.postpone(ids)
    assert await redis.zcount(intents._due, 0, 1) == 0


async def test_10000_connections_of_a_dead_node_are_removed(redis: Any, conf: RealtimeConf) -> None:
    presence = Presence(redis, "gone", conf)
    for number in range(MANY):
        presence.opened(number % 100 + 1, f"c{number}")
    await presence._flush()
    assert await redis.hlen(keys.online()) == 100
    await presence.stop()
    assert await redis.keys("chatws:*") == []


async def test_10000_excess_connections_of_one_user_are_ended(redis: Any, conf: RealtimeConf) -> None:
    ended: list[str] = []

    async def end(connection_ids: list[str]) -> None:
        ended.extend(connection_ids)

    presence = Presence(redis, "node", replace(conf, connections_per_user=1), on_excess=end)
    await redis.zadd("chatws:user:7", {f"c{number}": number for number in range(MANY)})
    presence.opened(7, "newest")
    await presence._flush()
    assert ended == [f"c{number}" for number in range(MANY)]


async def test_10000_intents_are_claimed(redis: Any) -> None:
    intents = Intents(redis, TOPIC, 60)
    await redis.hset(intents._intents, mapping={f"i{number}": f"1:{number}" for number in range(MANY)})
    await redis.zadd(intents._due, {f"i{number}": number for number in range(MANY)})
    claimed = await intents.claim(MANY)
    assert [intent.content for intent in claimed] == [b"%d" % number for number in range(MANY)]


async def test_10000_entries_are_published_at_once(redis: Redis) -> None:
    lease = Lease(redis, TOPIC, 600, "one")
    await lease.take()
    assert await lease.publish([(f"chat.{number % 3}", entry_of(3)) for number in range(MANY)])
    assert sum([await redis.xlen(f"chat.{number}") for number in range(3)]) == MANY


async def test_dead_letter_of_10000_fields_is_written_and_not_replayed(redis: Any, conf: RealtimeConf) -> None:
    entry = entry_of(MANY)
    await Topic(redis, TOPIC, conf).dead_letter(("5-0", entry), "too many fields")
    letters = DeadLetters(redis)
    [letter] = await letters.latest(TOPIC, 10)
    assert letter.reason == "too many fields"
    assert len(letter.fields) == MAX_FIELDS
    *_, last = entry
    assert last in letter.fields[b"dlq_more_fields"]
    with pytest.raises(RealtimeError, match="more fields"):
        await letters.replay(letter)
    assert await letters.count(TOPIC) == 1
    assert await redis.xlen(TOPIC) == 0


async def test_dead_letter_within_the_limit_is_replayed_whole(redis: Any, conf: RealtimeConf) -> None:
    entry = entry_of(MAX_FIELDS)
    await Topic(redis, TOPIC, conf).dead_letter(("5-0", entry), "bad")
    letters = DeadLetters(redis)
    [letter] = await letters.latest(TOPIC, 10)
    await letters.replay(letter)
    [(_, replayed)] = await redis.xrange(TOPIC)
    assert replayed.keys() == entry.keys()


async def test_entry_of_10000_fields_is_refused_before_any_write(redis: Any) -> None:
    lease = Lease(redis, TOPIC, 600, "one")
    await lease.take()
    with pytest.raises(RealtimeError, match="more than 3500 fields"):
        await lease.publish([("chat.a", entry_of(3)), ("chat.a", entry_of(MANY))])
    assert await redis.xlen("chat.a") == 0
    intents = Intents(redis, TOPIC, 60)
    await intents.note("i", b"content")
    with pytest.raises(RealtimeError, match="more than 3500 fields"):
        await intents.fulfil("i", entry_of(MANY))
    assert await redis.hlen(intents._intents) == 1
    assert await intents.fulfil("i", entry_of(MAX_FIELDS))
