"""Check feed logs on a real Redis: offsets, repeats, bounds, epochs, atomic batches."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from realtime.conf import RealtimeConf
from realtime.exceptions import RedisDefect, RedisUnavailable
from realtime.feeds.log import FeedLog, Position
from realtime.feeds.publication import Publication, decode_publication, encode_publication
from realtime.redis.scripts import Script
from tests.support.redis import Redis


@pytest.fixture
def log(redis: Redis, conf: RealtimeConf) -> FeedLog:
    return FeedLog(redis, conf)


def entry(number: int, text: str = "{}") -> tuple[str, str, bytes]:
    return f"{number}-0", f"p{number}", encode_publication(Publication(f"p{number}", text.encode()))


async def append(log: FeedLog, *numbers: int, topic: str = "topic") -> list[int | None]:
    return [place.offset for place in await log.append("group:g", topic, [entry(number) for number in numbers])]


async def test_offsets_count_from_1_within_an_epoch(log: FeedLog) -> None:
    position = await log.ensure("group:g")
    assert (position.offset, bool(position.epoch)) == (0, True)
    assert await append(log, 1, 2) == [1, 2]
    assert await append(log, 3) == [3]
    assert await log.ensure("group:g") == Position(position.epoch, 3, "p3")


async def test_repeated_batch_keeps_its_offsets(log: FeedLog) -> None:
    assert await append(log, 1, 2, 3) == [1, 2, 3]
    assert await append(log, 1, 2, 3, 4) == [1, 2, 3, 4]
    assert len((await log.read("group:g", 0, 100)).entries) == 4


async def test_repeated_id_in_a_later_entry_keeps_its_offset(log: FeedLog) -> None:
    assert await append(log, 1) == [1]
    again = await log.append("group:g", "topic", [("5-0", "p1", entry(1)[2]), entry(6)])
    assert [place.offset for place in again] == [1, 2]


async def test_old_entry_is_rejected_after_its_id_expired(log: FeedLog, redis: Redis) -> None:
    await append(log, 1, 2, 3)
    await redis.delete("chatws:{group:g}:ids", "chatws:{group:g}:ids:old")
    assert await append(log, 2, 3, 4) == [None, None, 4]
    assert await append(log, 1, topic="another topic") == [5]


async def test_stream_ids_are_compared_as_numbers(log: FeedLog) -> None:
    def at(entry_id: str) -> tuple[str, str, bytes]:
        return entry_id, f"at {entry_id}", b"\x01"

    ids = ["9-0", "10-0", "10-2", "10-10", "18446744073709551615-18446744073709551615"]
    places = await log.append("group:g", "topic", [at(entry_id) for entry_id in ids])
    assert [place.offset for place in places] == [1, 2, 3, 4, 5]


async def test_log_keeps_latest_entries_by_count(redis: Redis, conf: RealtimeConf) -> None:
    log = FeedLog(redis, replace(conf, feed_publications=3))
    assert await append(log, *range(1, 11)) == list(range(1, 11))
    tail = await log.read("group:g", 0, 100)
    assert (tail.first, len(tail.entries), tail.position.offset) == (8, 3, 10)
    assert decode_publication(tail.entries[0]).id == "p8"


async def test_log_keeps_latest_entries_by_bytes(redis: Redis, conf: RealtimeConf) -> None:
    log = FeedLog(redis, replace(conf, feed_bytes=1_000))
    await log.append("group:g", "topic", [entry(number, "x" * 400) for number in range(1, 6)])
    assert len((await log.read("group:g", 0, 100)).entries) == 2
    await log.append("group:g", "topic", [entry(9, "x" * 4_000)])
    tail = await log.read("group:g", 0, 100)
    assert [decode_publication(entry).id for entry in tail.entries] == ["p9"]


async def test_ids_outlive_the_bound_of_the_log(redis: Redis, conf: RealtimeConf) -> None:
    log = FeedLog(redis, replace(conf, feed_publications=2))
    await append(log, *range(1, 11))
    again = await log.append("group:g", "topic", [("99-0", "p1", entry(1)[2])])
    assert again[0].offset == 1


async def test_read_returns_entries_after_the_offset(log: FeedLog) -> None:
    await append(log, 1, 2, 3)
    tail = await log.read("group:g", 2, 100)
    assert (tail.first, tail.id_at, len(tail.entries)) == (3, "p2", 1)
    tail = await log.read("group:g", 3, 100)
    assert (tail.first, tail.id_at, tail.entries) == (4, "p3", [])
    assert len((await log.read("group:g", 0, 2)).entries) == 2


async def test_expired_log_reports_its_first_offset(log: FeedLog, redis: Redis) -> None:
    await append(log, 1, 2)
    await redis.delete("chatws:{group:g}:log")
    tail = await log.read("group:g", 1, 100)
    assert (tail.first, tail.entries, tail.position.offset) == (3, [], 2)
    assert await append(log, 3) == [3]
    assert [decode_publication(e).id for e in (await log.read("group:g", 2, 100)).entries] == ["p3"]


async def test_renewing_replaces_only_the_expected_epoch(log: FeedLog) -> None:
    first = await log.ensure("group:g")
    await append(log, 1)
    second = await log.reset_epoch("group:g", first.epoch)
    assert second.epoch != first.epoch
    assert second.offset == 0
    assert await log.reset_epoch("group:g", first.epoch) == second
    assert await append(log, 2) == [1]


async def test_positions_of_many_feeds_are_read_together(log: FeedLog) -> None:
    await append(log, 1)
    position = await log.ensure("group:g")
    assert await log.positions(["group:g", "group:none"]) == [position, None]


async def test_full_redis_stores_nothing_of_a_batch(log: FeedLog, redis: Redis) -> None:
    await append(log, 1)
    await redis.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(RedisUnavailable):
            await append(log, 2, 3)
    finally:
        await redis.config_set("maxmemory", "0")
    assert await append(log, 2, 3) == [2, 3]


async def test_ids_that_redis_lost_expire_again(log: FeedLog, redis: Redis) -> None:
    await append(log, 1)
    await redis.delete("chatws:{group:g}:ids")
    await append(log, 2)
    assert await redis.ttl("chatws:{group:g}:ids") > 0


async def test_keys_of_a_feed_expire(log: FeedLog, redis: Redis, conf: RealtimeConf) -> None:
    began = time.monotonic()
    await append(log, 1)
    for name, seconds in (("meta", conf.meta_seconds), ("log", conf.feed_seconds), ("ids", 2 * conf.id_seconds)):
        left = await redis.ttl(f"chatws:{{group:g}}:{name}")
        assert seconds - (time.monotonic() - began) - 1 <= left <= seconds


def test_unknown_entry_format_is_an_error() -> None:
    publication = Publication("id", b"{}")
    assert decode_publication(encode_publication(publication)) == publication
    for bad in (b"", b"\x02abc", b"\x01abc"):
        with pytest.raises(ValueError, match="feed entry"):
            decode_publication(bad)


async def test_append_to_many_feeds_reloads_a_lost_script(log: FeedLog, redis: Redis) -> None:
    await redis.script_flush()
    places = await log.append_all("topic", {"group:a": [entry(1), entry(2)], "group:b": [entry(3)]})
    assert [[place.offset for place in feed] for feed in places] == [[1, 2], [1]]
    assert [place.after for place in places[0]] == ["", "p1"]
    assert await log.append_all("topic", {}) == []


async def test_failed_append_fails_the_batch_and_is_retryable(log: FeedLog, redis: Redis) -> None:
    await redis.set("chatws:{group:b}:log", "not a list")
    batch = {"group:a": [entry(1)], "group:b": [entry(2)], "group:c": [entry(3)]}
    with pytest.raises(RedisDefect, match="WRONGTYPE"):
        await log.append_all("topic", batch)
    await redis.delete("chatws:{group:b}:log")
    places = await log.append_all("topic", batch)
    assert [feed[0].offset for feed in places] == [1, 1, 1]


async def test_concurrent_ensures_share_one_round_trip(
    log: FeedLog, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await append(log, 1)
    await log.ensure("user:0")  # Redis has the script from now on
    trips: list[int] = []
    run_all = Script.run_all

    async def counted(self: Script, client: Redis, calls: Any) -> list[Any]:
        trips.append(len(calls))
        return await run_all(self, client, calls)

    monkeypatch.setattr(Script, "run_all", counted)
    positions = await asyncio.gather(*(log.ensure(name) for name in ["group:g", "user:1", "group:g", "user:2"]))
    assert trips == [3]
    assert [position.offset for position in positions] == [1, 0, 1, 0]
    assert positions[0] == positions[2]
    assert len({position.epoch for position in positions}) == 3


async def test_redis_error_reaches_every_waiting_caller(log: FeedLog, redis: Redis) -> None:
    await redis.set("chatws:{group:g}:meta", "not a hash")
    answers = await asyncio.gather(*(log.ensure(name) for name in ["group:g", "user:1"]), return_exceptions=True)
    assert [type(answer) for answer in answers] == [RedisDefect, RedisDefect]
    assert (await log.ensure("user:1")).offset == 0
