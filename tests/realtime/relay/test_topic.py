"""A topic's cursor on a real Redis: where it begins, what moves it, what it shows."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from realtime.conf import RealtimeConf
from realtime.redis import Redis
from realtime.relay.topic import Topic

TOPIC = "chat.message.new"


@pytest.fixture
def topic(redis: Redis, conf: RealtimeConf) -> Topic:
    return Topic(redis, TOPIC, conf)


async def write(redis: Any, count: int) -> list[str]:
    return [(await redis.xadd(TOPIC, {"payload": json.dumps(number)})).decode() for number in range(count)]


async def group(redis: Any) -> Mapping[str, Any]:
    [group] = await redis.xinfo_groups(TOPIC)
    found: Mapping[str, Any] = group
    return found


async def test_the_first_start_is_at_the_end(topic: Topic, redis: Redis) -> None:
    ids = await write(redis, 3)
    assert await topic.start() == ids[-1]
    later = await write(redis, 2)
    assert [entry_id for entry_id, _ in await topic.read(ids[-1], 10, 100)] == later


async def test_the_first_start_on_a_stream_that_is_not_there_misses_nothing_of_it(topic: Topic, redis: Redis) -> None:
    cursor = await topic.start()
    ids = await write(redis, 2)
    assert [entry_id for entry_id, _ in await topic.read(cursor, 10, 100)] == ids


async def test_the_first_start_takes_over_an_existing_group_at_its_oldest_pending_entry(
    topic: Topic, redis: Any
) -> None:
    ids = await write(redis, 6)
    await redis.xgroup_create(TOPIC, "chatws", id="0")
    await redis.xreadgroup("chatws", "old", {TOPIC: ">"}, count=4)
    await redis.xack(TOPIC, "chatws", *ids[:2])
    cursor = await topic.start()
    assert [entry_id for entry_id, _ in await topic.read(cursor, 10, 100)] == ids[2:]


async def test_a_commit_moves_the_cursor_and_shows_the_lag(topic: Topic, redis: Redis) -> None:
    cursor = await topic.start()
    ids = await write(redis, 5)
    assert await topic.commit(1, ids[1], 2)
    assert await topic.start() == ids[1] != cursor
    seen = await group(redis)
    assert (seen["last-delivered-id"].decode(), seen["lag"]) == (ids[1], 3)
    assert await topic.lag() == 3


async def test_a_commit_never_goes_back_and_an_earlier_lease_is_refused(topic: Topic, redis: Redis) -> None:
    await topic.start()
    ids = await write(redis, 5)
    assert await topic.commit(2, ids[3], 4)
    assert await topic.commit(2, ids[1], 2)
    assert await topic.start() == ids[3]
    assert not await topic.commit(1, ids[4], 1)
    assert await topic.start() == ids[3]


async def test_a_commit_makes_a_group_that_was_deleted_again(topic: Topic, redis: Any) -> None:
    await topic.start()
    ids = await write(redis, 2)
    await redis.xgroup_destroy(TOPIC, "chatws")
    assert await topic.commit(1, ids[0], 1)
    assert (await group(redis))["lag"] == 1


async def test_a_dead_letter_is_written_once_whoever_tries(topic: Topic, redis: Redis, conf: RealtimeConf) -> None:
    for writer in (topic, Topic(redis, TOPIC, conf), topic):
        await writer.dead_letter(("5-0", {b"payload": b"x"}), "no good")
    await topic.dead_letter(("6-0", {}), "no good either")
    assert await redis.xlen(f"{TOPIC}.dlq") == 2


@pytest.mark.parametrize("loss", ["back", "gone", "trimmed"])
async def test_a_stream_that_lost_entries_raises_an_alarm(
    topic: Topic, redis: Any, caplog: pytest.LogCaptureFixture, loss: str
) -> None:
    await topic.start()
    ids = await write(redis, 4)
    assert await topic.commit(1, ids[1], 2)
    if loss == "trimmed":
        await redis.xtrim(TOPIC, maxlen=1, approximate=False)
    else:
        await redis.delete(TOPIC)
    if loss == "back":
        await redis.xadd(TOPIC, {"payload": "x"}, id="1-1")
    await topic.start()
    [alarm] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert ids[1] in alarm.getMessage()
