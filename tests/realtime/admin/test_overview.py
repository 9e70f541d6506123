"""Check the overview's data: counts, limits, and its answer when a source is unavailable or hangs."""

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from realtime.admin import overview
from realtime.admin.overview import Closed, Closes, ClosesByCode, Gateway, Online, SourceUnavailable, TopicLag, collect
from realtime.conf import RealtimeConf
from realtime.exceptions import DatabaseUnavailable
from realtime.models import ConnectionRecord
from realtime.relay.topic import Topic
from tests.support.redis import Redis, free_port
from tests.support.waiting import LIMIT

LEASED_UNTIL = 2**40


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each source enough time to answer; tests of hanging sources shorten it."""
    monkeypatch.setattr(overview, "SOURCE_TIMEOUT", LIMIT)


def no_closes() -> Mapping[int, int]:
    return {}


async def gateway(redis: Any, name: str, connections: int, until: int = LEASED_UNTIL) -> None:
    """Register a gateway in the cluster."""
    await redis.zadd("chatws:nodes", {name: until})
    await redis.hset(f"chatws:node:{name}", mapping={f"{name}-{number}": number for number in range(connections)})


async def test_fullest_gateways_are_listed_and_all_are_counted(redis: Any, conf: RealtimeConf) -> None:
    for number in range(1, 301):
        await gateway(redis, f"gateway-{number:03}", number)
    await gateway(redis, "gone", 1_000, until=1)
    await redis.hset("chatws:online", mapping={"7": 2, "8": 1})
    seen = (await collect(conf, ClosesByCode(no_closes))).online
    assert isinstance(seen, Online)
    assert (seen.users, seen.connections, seen.gateways) == (2, sum(range(1, 301)), 300)
    assert seen.top == [Gateway(f"gateway-{number:03}", number) for number in range(300, 290, -1)]


async def test_each_topic_has_lag_and_dead_letters(redis: Any, conf: RealtimeConf) -> None:
    topic = Topic(redis, "chat.message.new", conf)
    await topic.start()
    entry_id = (await redis.xadd("chat.message.new", {"payload": "{}"})).decode()
    await redis.xadd("chat.message.new", {"payload": "{}"})
    await topic.dead_letter((entry_id, {b"payload": b"{}"}), "for this test")
    await Topic(redis, "notification:push", conf).start()
    await redis.sadd("chatws:dlq:topics", "of.old")
    assert (await collect(conf, ClosesByCode(no_closes))).topics == [
        TopicLag("chat.message.new", 2, 1),
        TopicLag("notification:push", 0, 0),
        TopicLag("of.old", None, 0),
    ]


@pytest.mark.django_db(transaction=True)
async def test_closes_of_one_day_are_counted_by_code(redis: Redis, conf: RealtimeConf) -> None:
    now = datetime.now(UTC)
    times = [(1000, now)] * 3 + [(4401, now - timedelta(hours=23))] * 2 + [(4999, now), (1000, now - timedelta(days=2))]
    await ConnectionRecord.objects.abulk_create(
        ConnectionRecord(connection_id=str(number), node="a", opened_at=at, closed_at=at, close_code=code)
        for number, (code, at) in enumerate(times)
    )
    await ConnectionRecord.objects.acreate(connection_id="open", node="a", opened_at=now)
    expected = [Closed(1000, "closed normally", 3), Closed(4401, "not authenticated", 2), Closed(4999, "unknown", 1)]
    assert (await collect(conf, ClosesByCode())).closes == Closes(6, 3, expected)


async def test_rare_close_codes_are_summed_up() -> None:
    seen = await ClosesByCode(lambda: {code: code for code in range(3000, 3500)}).latest()
    assert [closed.code for closed in seen.top] == list(range(3499, 3489, -1))
    assert (seen.codes, seen.total) == (500, sum(range(3000, 3500)))


async def test_close_counts_are_cached_for_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []

    def count() -> Mapping[int, int]:
        counted.append(1)
        return {1000: len(counted)}

    closes = ClosesByCode(count)
    answers = await asyncio.gather(*(closes.latest() for _ in range(20)))
    assert {answer.total for answer in answers} == {1}
    monkeypatch.setattr(overview, "KEPT_SECONDS", 0.0)
    again = ClosesByCode(count)
    assert [(await again.latest()).total, (await again.latest()).total] == [2, 3]


async def test_hanging_database_blocks_one_thread_only(
    redis: Redis, conf: RealtimeConf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "SOURCE_TIMEOUT", 5.0)
    freed = threading.Event()
    counting: list[str] = []

    def count() -> Mapping[int, int]:
        counting.append(threading.current_thread().name)
        freed.wait(2 * LIMIT)
        return {1000: 7}

    closes = ClosesByCode(count)
    seen = await asyncio.gather(*(collect(conf, closes) for _ in range(5)))
    assert {answer.closes for answer in seen} == {SourceUnavailable("the database did not answer within 5 s.")}
    assert all(isinstance(answer.online, Online) for answer in seen)
    assert counting == ["closes"]
    freed.set()
    assert (await closes.latest()).total == 7


async def test_failed_database_query_is_not_cached(redis: Redis, conf: RealtimeConf) -> None:
    troubles = [DatabaseUnavailable("the database is unavailable: no such host")]

    def count() -> Mapping[int, int]:
        if troubles:
            raise troubles.pop()
        return {1000: 1}

    closes = ClosesByCode(count)
    first = (await collect(conf, closes)).closes
    assert first == SourceUnavailable("the database is unavailable: no such host")
    assert isinstance((await collect(conf, closes)).closes, Closes)


async def test_unavailable_redis_is_reported_and_closes_remain(conf: RealtimeConf) -> None:
    where = f"127.0.0.1:{free_port()}"
    seen = await collect(replace(conf, redis_url=f"redis://:hidden@{where}/0"), ClosesByCode(lambda: {1000: 1}))
    for part in (seen.online, seen.topics):
        assert isinstance(part, SourceUnavailable)
        assert part.away.startswith(f"Redis at {where} is unavailable (")
        assert "hidden" not in part.away
    assert isinstance(seen.closes, Closes)


async def test_hanging_redis_does_not_delay_the_overview(conf: RealtimeConf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "SOURCE_TIMEOUT", 0.5)

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        seen = await collect(replace(conf, redis_url=f"redis://127.0.0.1:{port}/0"), ClosesByCode(no_closes))
    assert isinstance(seen.online, SourceUnavailable)
    assert isinstance(seen.topics, SourceUnavailable)
