"""Check a topic's loop: order under failures, poison entries, two workers that both consider themselves active."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from realtime.aio import tasks
from realtime.conf import RealtimeConf
from realtime.exceptions import DatabaseUnavailable, PoisonEntry, RedisUnavailable
from realtime.feeds.log import FeedLog
from realtime.feeds.publication import Publication, decode_publication
from realtime.observability import metrics
from realtime.relay import worker as worker_module
from realtime.relay.dead_letters import DeadLetters
from realtime.relay.lease import Lease
from realtime.relay.publisher import Publisher, Routed
from realtime.relay.reporting import report
from realtime.relay.topic import Topic
from realtime.relay.watermill import Entry
from realtime.relay.worker import TopicWorker, to_feeds
from tests.support.redis import Redis, RedisServer, connect
from tests.support.redis_errors import ELEVEN, ErrorProxy
from tests.support.waiting import LIMIT, until, until_answer

TOPIC = "topic"
LEASE = 6.0
"""Seconds of a lease: a delayed worker on a busy machine keeps it; a stopped one waits a third of it at most."""


class Silent:
    """A channel layer without subscribers."""

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        pass


def route(entry: Entry) -> Sequence[tuple[str, Publication]]:
    payload = json.loads(entry.payload)
    if payload == "poison":
        raise PoisonEntry("payload: poison")
    return [(f"group:{payload % 3}", Publication(str(payload), entry.payload))]


class Bench:
    def __init__(self, redis: Any, conf: RealtimeConf) -> None:
        self.redis = redis
        self.conf = replace(conf, relay_lease_seconds=LEASE, relay_batch=7)
        self.log = FeedLog(redis, conf)
        self.running: list[tuple[TopicWorker[Any], asyncio.Task[None]]] = []

    def sink(self) -> Any:
        return self.to_feeds()[1]

    def to_feeds(self) -> Any:
        return to_feeds(TOPIC, route, Publisher(self.log, Silent()))  # type: ignore[arg-type]

    def start(self, sink: Any = None) -> TopicWorker[Any]:
        topic = Topic(self.redis, TOPIC, self.conf)
        name = f"relay-{len(self.running)}"
        prepare, real = self.to_feeds()
        worker = TopicWorker(self.redis, topic, prepare, sink or real, self.conf, name=name)
        self.running.append((worker, asyncio.create_task(worker.run())))
        return worker

    async def begun(self) -> None:
        await until_answer(lambda: self.redis.exists("chatws:{topic}:pos"), what="a worker has begun")

    async def write(self, *payloads: object) -> None:
        """Add entries at once, so that each read returns the same batch."""
        async with self.redis.pipeline(transaction=True) as adding:
            for payload in payloads:
                adding.xadd(TOPIC, {"payload": json.dumps(payload)})
            await adding.execute()

    async def contents(self) -> list[list[int]]:
        tails = [await self.log.read(f"group:{number}", 0, 1_000) for number in range(3)]
        return [[int(decode_publication(entry).payload) for entry in tail.entries] for tail in tails]

    async def until_relayed(self, last: int) -> None:
        await until_answer(self.contents, lambda contents: last in contents[last % 3], f"{last} is relayed")


@pytest.fixture
async def bench(redis: Redis, conf: RealtimeConf) -> AsyncIterator[Bench]:
    bench = Bench(redis, conf)
    yield bench
    for worker, _ in bench.running:
        worker.stop()
    await asyncio.gather(*(task for _, task in bench.running))


def in_order(count: int) -> list[list[int]]:
    return [[number for number in range(count) if number % 3 == feed] for feed in range(3)]


async def test_entries_are_appended_to_their_feeds_in_order(bench: Bench) -> None:
    bench.start()
    await bench.begun()
    await bench.write(*range(50))
    await bench.until_relayed(49)
    assert await bench.contents() == in_order(50)


async def test_two_active_workers_append_the_same_sequence(bench: Bench) -> None:
    await bench.redis.xgroup_create(TOPIC, "chatws", id="$", mkstream=True)
    await bench.write(*range(60))
    prepare, sink = bench.to_feeds()
    entries = [part for i, fields in await bench.redis.xrange(TOPIC) for part in prepare(i.decode(), fields)]

    async def work(size: int) -> None:
        for start in range(0, 60, size):
            await sink(entries[start : start + size])

    await asyncio.gather(work(7), work(5), work(60))
    await work(60)
    assert await bench.contents() == in_order(60)


async def test_poison_becomes_a_dead_letter_and_the_rest_continues(bench: Bench) -> None:
    bench.start()
    await bench.begun()
    await bench.write(0, "poison", 1, 2)
    await bench.redis.xadd(TOPIC, {"no payload": "x"})
    await bench.write(3)
    await bench.until_relayed(3)
    assert await bench.contents() == in_order(4)
    assert await bench.redis.xlen(f"{TOPIC}.dlq") == 2


async def test_transient_failure_is_retried_before_later_entries(bench: Bench) -> None:
    seen: list[list[str]] = []
    real = bench.sink()

    async def sink(entries: Sequence[Routed]) -> None:
        seen.append([entry.entry_id for entry in entries])
        if len(seen) in (1, 2, 4):
            raise DatabaseUnavailable("not now") if len(seen) == 1 else RedisUnavailable("gone")
        await real(entries)

    bench.start(sink)
    await bench.begun()
    await bench.write(*range(20))
    await bench.until_relayed(19)
    assert await bench.contents() == in_order(20)
    assert [len(batch) for batch in seen] == [7, 7, 7, 7, 7, 6]
    assert seen[0] == seen[1] == seen[2]
    assert seen[3] == seen[4]


async def test_internal_failure_is_logged_and_retried(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    real = bench.sink()
    broken = True

    async def sink(entries: Sequence[Routed]) -> None:
        nonlocal broken
        if broken:
            broken = False
            raise RuntimeError("a bug")
        await real(entries)

    bench.start(sink)
    await bench.begun()
    await bench.write(0, 1, 2)
    await bench.until_relayed(2)
    assert await bench.contents() == in_order(3)
    assert "a bug" in caplog.text


async def test_standby_takes_over_when_the_worker_stops(bench: Bench) -> None:
    first = bench.start()
    await bench.begun()
    await bench.write(*range(10))
    await bench.until_relayed(9)
    second = bench.start()
    first.stop()
    await bench.running[0][1]
    await bench.write(*range(10, 20))
    await bench.until_relayed(19)
    assert second.relayed > 0
    assert await bench.contents() == in_order(20)


async def test_rate_and_lag_are_reported(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    worker = bench.start()
    await bench.begun()
    reporting = asyncio.create_task(report([worker], every=0.05))
    await bench.write(*range(10))
    await bench.until_relayed(9)
    await until(lambda: re.search(r"relay: topic [\d.]+/s lag 0$", caplog.text, re.MULTILINE), what="rate and lag")
    await tasks.end([reporting])


async def test_topics_spread_over_relays_and_survive_a_death(
    redis: Redis, conf: RealtimeConf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "SPREAD_SECONDS", 0.2)
    conf = replace(conf, relay_lease_seconds=1.5)

    async def sink(entries: Sequence[Routed]) -> None:
        pass

    def relay(name: str) -> list[TopicWorker[Any]]:
        topics = [Topic(redis, f"topic-{number}", conf) for number in range(4)]
        return [
            TopicWorker(redis, t, lambda entry_id, fields: [], sink, conf, name=name, number=n)
            for n, t in enumerate(topics)
        ]

    async def held_by() -> list[str]:
        client: Any = redis
        return [(await client.get(f"chatws:{{topic-{n}}}:lease") or b"").decode() for n in range(4)]

    async def until(*names: str) -> None:
        await until_answer(held_by, lambda held: held == list(names), f"held by {names}")

    first, second = relay("a"), relay("b")
    running = {worker: asyncio.create_task(worker.run()) for worker in first}
    await until("a", "a", "a", "a")
    running |= {worker: asyncio.create_task(worker.run()) for worker in second}
    await until("a", "b", "a", "b")
    await tasks.end([running[worker] for worker in second])  # as if killed: it releases nothing
    await until("a", "a", "a", "a")
    for worker in first:
        worker.stop()
    await asyncio.gather(*(running[worker] for worker in first))


async def test_waiting_worker_keeps_its_lease(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    real = bench.sink()
    taken: list[tuple[str, int]] = []
    take = Lease.take

    async def noting(self: Lease) -> int:
        token = await take(self)
        taken.append((self._holder, token))
        return token

    async def sink(entries: Sequence[Routed]) -> None:
        is_refused = ("relay-1", 0) in taken
        if not is_refused or [holder for holder, _ in taken].count("relay-0") < 6:
            raise DatabaseUnavailable("not now")
        await real(entries)

    monkeypatch.setattr(Lease, "take", noting)

    first = bench.start(sink)
    await bench.begun()
    await bench.write(*range(3))
    second = bench.start()
    await until(lambda: first.relayed == 3, what="the first has relayed all")
    assert second.relayed == 0
    assert {token for holder, token in taken if holder == "relay-1"} == {0}


async def test_next_batch_is_prepared_during_the_append(bench: Bench) -> None:
    prepare, real = bench.to_feeds()
    prepared: list[str] = []
    next_is_ready = asyncio.Event()

    def noting(entry_id: str, fields: Any) -> Any:
        prepared.append(entry_id)
        if len(prepared) == 14:
            next_is_ready.set()
        return prepare(entry_id, fields)

    async def sink(entries: Sequence[Routed]) -> None:
        async with asyncio.timeout(LIMIT):
            await next_is_ready.wait()
        await real(entries)

    await bench.redis.xgroup_create(TOPIC, "chatws", id="$", mkstream=True)
    await bench.write(*range(20))
    worker = TopicWorker(bench.redis, Topic(bench.redis, TOPIC, bench.conf), noting, sink, bench.conf, name="relay")
    bench.running.append((worker, asyncio.create_task(worker.run())))
    await bench.until_relayed(19)
    assert await bench.contents() == in_order(20)


@pytest.mark.parametrize("kind", ELEVEN)
async def test_worker_survives_every_refusal(
    bench: Bench, redis_server: RedisServer, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Entries and dead letters wait; the relay says that Redis refuses, and its lag is known meanwhile."""
    direct = bench.redis
    refused = metrics.relay_refused.labels(TOPIC)._value
    async with ErrorProxy(redis_server.port) as proxy:
        bench.redis = connect(proxy.url)
        worker = bench.start()
        lag = Topic(direct, TOPIC, bench.conf).lag
        await bench.begun()
        await bench.write(0, 1)
        await bench.until_relayed(1)
        await until_answer(lag, lambda entries: entries == 0, "nothing waits")
        bench.redis, behind = direct, bench.redis
        proxy.answer_kind(kind)
        await until(refused.get, what="the refusal is a metric")
        await bench.write(2, "poison", 3)
        await until_answer(lag, lambda entries: entries == 3, "three entries wait")
        assert "Redis refuses writes, so no relay can hold the topic" in caplog.text
        assert await DeadLetters(direct).count(TOPIC) == 0
        proxy.restore()
        await bench.until_relayed(3)
        assert await bench.contents() == in_order(4)
        await until_answer(lambda: DeadLetters(direct).count(TOPIC), lambda count: count == 1, "the dead letter")
        await until(refused.get, lambda value: value == 0, "the metric is back")
        worker.stop()
        await bench.running[0][1]
        await behind.aclose()


async def test_lag_is_counted_where_redis_does_not_know_it(redis: Any, conf: RealtimeConf) -> None:
    topic = Topic(redis, TOPIC, conf)
    assert await topic.lag() is None
    entries = [(await redis.xadd(TOPIC, {"payload": "1"})).decode() for _ in range(5)]
    await redis.hset("chatws:{topic}:pos", mapping={"id": entries[1], "read": 2})
    assert await topic.lag() == 3
    await redis.xgroup_create(TOPIC, conf.consumer_group, id=entries[1])  # without ENTRIESREAD
    await redis.xdel(TOPIC, entries[3])  # so Redis can't count
    assert await topic.lag() == 3
