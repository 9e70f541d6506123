"""Check a topic's cursor on a real Redis: its start, its commits, its lag."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from realtime.conf import RealtimeConf
from realtime.exceptions import DatabaseUnavailable
from realtime.relay.lease import Lease
from realtime.relay.topic import Topic, relayed_topics
from tests.support.redis import Redis, connect

TOPIC = "chat.message.new"
START = "0-0"


@pytest.fixture
def topic(redis: Redis, conf: RealtimeConf) -> Topic:
    return Topic(redis, TOPIC, conf)


async def write(redis: Any, count: int) -> list[str]:
    return [(await redis.xadd(TOPIC, {"payload": json.dumps(number)})).decode() for number in range(count)]


async def group(redis: Any) -> Mapping[str, Any]:
    [group] = await redis.xinfo_groups(TOPIC)
    found: Mapping[str, Any] = group
    return found


async def test_first_start_is_at_the_end(topic: Topic, redis: Redis) -> None:
    ids = await write(redis, 3)
    assert await topic.start() == ids[-1]
    later = await write(redis, 2)
    assert [entry_id for entry_id, _ in await topic.read(ids[-1], 10, 100)] == later


async def test_first_start_before_the_stream_misses_nothing(topic: Topic, redis: Redis) -> None:
    cursor = await topic.start()
    ids = await write(redis, 2)
    assert [entry_id for entry_id, _ in await topic.read(cursor, 10, 100)] == ids


async def test_quiet_topic_is_read_by_a_client_with_a_short_time_limit(redis: Redis, conf: RealtimeConf) -> None:
    """Redis waits for an entry for less time than the client waits for an answer, as `?socket_timeout=` sets it."""
    async with connect(f"{conf.redis_url}?socket_timeout=1") as impatient:
        topic = Topic(impatient, TOPIC, conf)
        assert await topic.read(START, 10, 3_000) == []


async def test_first_start_adopts_the_oldest_pending_entry(topic: Topic, redis: Any) -> None:
    ids = await write(redis, 6)
    await redis.xgroup_create(TOPIC, "chatws", id="0")
    await redis.xreadgroup("chatws", "old", {TOPIC: ">"}, count=4)
    await redis.xack(TOPIC, "chatws", *ids[:2])
    cursor = await topic.start()
    assert [entry_id for entry_id, _ in await topic.read(cursor, 10, 100)] == ids[2:]


async def test_commit_moves_the_cursor_and_shows_the_lag(topic: Topic, redis: Redis) -> None:
    cursor = await topic.start()
    ids = await write(redis, 5)
    assert await topic.commit(1, START, ids[1], 2)
    assert await topic.start() == ids[1] != cursor
    seen = await group(redis)
    assert (seen["last-delivered-id"].decode(), seen["lag"]) == (ids[1], 3)
    assert await topic.lag() == 3


async def test_commit_rejects_earlier_cursors_and_leases(topic: Topic, redis: Redis) -> None:
    await topic.start()
    ids = await write(redis, 5)
    assert await topic.commit(2, START, ids[3], 4)
    assert await topic.commit(2, START, ids[1], 2)
    assert await topic.start() == ids[3]
    assert not await topic.commit(1, ids[3], ids[4], 1)
    assert await topic.start() == ids[3]


async def test_commit_creates_a_deleted_group_again(topic: Topic, redis: Any) -> None:
    await topic.start()
    ids = await write(redis, 2)
    await redis.xgroup_destroy(TOPIC, "chatws")
    assert await topic.commit(1, START, ids[0], 1)
    assert (await group(redis))["lag"] == 1


async def test_consumer_group_is_named_by_the_setting(redis: Redis, conf: RealtimeConf) -> None:
    topic = Topic(redis, TOPIC, replace(conf, consumer_group="ours"))
    cursor = await topic.start()
    [entry_id] = await write(redis, 1)
    assert await topic.commit(1, cursor, entry_id, 1)
    assert (await group(redis))["name"] == b"ours"


async def test_dead_letter_is_written_once_by_any_writer(topic: Topic, redis: Redis, conf: RealtimeConf) -> None:
    for writer in (topic, Topic(redis, TOPIC, conf), topic):
        await writer.dead_letter(("5-0", {b"payload": b"x"}), "no good")
    await topic.dead_letter(("6-0", {}), "no good either")
    assert await redis.xlen(f"{TOPIC}.dlq") == 2


async def test_overlapping_commits_count_each_entry_once(topic: Topic, redis: Redis) -> None:
    cursor = await topic.start()
    ids = await write(redis, 5)
    assert await topic.commit(1, cursor, ids[2], 3)
    assert await topic.commit(2, cursor, ids[4], 5), "a later holder had begun at the same place"
    seen = await group(redis)
    assert (seen["entries-read"], seen["lag"]) == (5, 0)


async def test_lost_cursor_is_restored_from_its_copy(redis: Redis, conf: RealtimeConf) -> None:
    ids = await write(redis, 4)

    async def saved_cursor(topic: str) -> str | None:
        assert topic == TOPIC
        return ids[1]

    topic = Topic(redis, TOPIC, conf, saved_cursor=saved_cursor)
    assert await topic.start() == ids[1]
    assert await redis.hget("chatws:{chat.message.new}:pos", "read") == b"2"


async def test_unavailable_cursor_copy_prevents_the_start(redis: Redis, conf: RealtimeConf) -> None:
    async def away(topic: str) -> str | None:
        raise DatabaseUnavailable("the database is unavailable")

    with pytest.raises(DatabaseUnavailable):
        await Topic(redis, TOPIC, conf, saved_cursor=away).start()
    assert not await redis.exists("chatws:{chat.message.new}:pos")


@pytest.fixture
async def small_nodes(redis: Any) -> AsyncIterator[None]:
    """Make Redis trim streams exactly, entry by entry."""
    await redis.config_set("stream-node-max-entries", 1)
    yield
    await redis.config_set("stream-node-max-entries", 100)


async def test_own_stream_is_trimmed_up_to_the_slowest_group(
    topic: Topic, redis: Any, small_nodes: None, caplog: pytest.LogCaptureFixture
) -> None:
    await topic.start()
    ids = await write(redis, 10)
    await topic.commit(1, START, ids[7], 8)
    await redis.xgroup_create(TOPIC, "other", id=ids[5])
    await redis.xgroup_create(TOPIC, "slow", id="0")
    await redis.xreadgroup("slow", "one", {TOPIC: ">"}, count=9)
    await redis.xack(TOPIC, "slow", *ids[:3])
    assert await topic.trim(ids[7]) == 3
    await redis.xgroup_destroy(TOPIC, "slow")
    assert await topic.trim(ids[7]) == 2
    await redis.xgroup_destroy(TOPIC, "other")
    await topic.trim(ids[7])
    assert [entry_id.decode() for entry_id, _ in await redis.xrange(TOPIC)] == ids[7:]
    await topic.look_for_losses(ids[7])
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_each_loss_logs_one_error(topic: Topic, redis: Any, caplog: pytest.LogCaptureFixture) -> None:
    await topic.start()
    ids = await write(redis, 4)
    await topic.commit(1, START, ids[0], 1)
    for kept in (2, 2, 1):
        await redis.xtrim(TOPIC, maxlen=kept, approximate=False)
        await topic.look_for_losses(ids[0])
    alarms = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert [alarm.split()[1] for alarm in alarms] == ["1", "2"]


@pytest.mark.parametrize("loss", ["back", "gone", "trimmed"])
async def test_stream_that_lost_entries_logs_an_error(
    topic: Topic, redis: Any, caplog: pytest.LogCaptureFixture, loss: str
) -> None:
    await topic.start()
    ids = await write(redis, 4)
    assert await topic.commit(1, START, ids[1], 2)
    if loss == "trimmed":
        await redis.xtrim(TOPIC, maxlen=1, approximate=False)
    else:
        await redis.delete(TOPIC)
    if loss == "back":
        await redis.xadd(TOPIC, {"payload": "x"}, id="1-1")
    await topic.start()
    [alarm] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert ids[1] in alarm.getMessage()


async def test_lease_outranks_commits_after_its_token_was_lost(redis: Redis, conf: RealtimeConf) -> None:
    topic, old, new = Topic(redis, TOPIC, conf), *(Lease(redis, TOPIC, 600, name) for name in ("old", "new"))
    for _ in range(3):
        await old.take()
        await old.give_back()
    token = await old.take()
    await topic.start()
    ids = await write(redis, 2)
    await redis.flushall()
    fresh = await new.take()
    assert fresh < token
    assert await topic.commit(token, START, ids[0], 1), "the holder from before doesn't know yet"
    assert not await topic.commit(fresh, START, ids[1], 1)
    assert await old.take() == 0
    assert await topic.commit(await new.take(), START, ids[1], 1)
    assert await new.take() == await new.take()


async def test_deleted_stream_is_no_failure(topic: Topic, redis: Redis) -> None:
    await topic.start()
    await redis.delete(TOPIC)
    assert await topic.trim("5-0") == 0
    assert await topic.lag() is None


async def test_started_topic_is_listed(topic: Topic, redis: Redis) -> None:
    assert await relayed_topics(redis) == []
    await topic.start()
    assert await relayed_topics(redis) == [TOPIC]
