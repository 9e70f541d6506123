"""Check the audit from stream to database: in bulk, repeatable, and retried while the database is unavailable."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from realtime.aio import tasks
from realtime.audit import reaper as reaper_module
from realtime.audit import recorder
from realtime.audit.events import Event, Opened, parse
from realtime.audit.reaper import Reaper
from realtime.audit.recorder import USER_BURST, Audit
from realtime.audit.sink import database_sink
from realtime.conf import RealtimeConf
from realtime.connection.handshake import MAX_USER_AGENT
from realtime.exceptions import DatabaseUnavailable, PoisonEntry, RedisRefused
from realtime.ids import new_connection_id, new_node_name
from realtime.models import ConnectionRecord
from realtime.observability import metrics
from realtime.redis import keys
from tests.support.redis import Redis, RedisServer, connect
from tests.support.redis_errors import ELEVEN, ErrorProxy
from tests.support.waiting import until_answer, until_news

pytestmark = pytest.mark.django_db(transaction=True)


async def entries(redis: Any) -> Sequence[Event]:
    return [
        event
        for entry_id, fields in await redis.xrange(keys.audit_stream())
        for event in parse(entry_id.decode(), fields)
    ]


async def record(connection_id: str) -> ConnectionRecord:
    return await ConnectionRecord.objects.aget(connection_id=connection_id)


async def a_life(redis: Redis, conf: RealtimeConf, connection_id: str = "c1", user_id: int = 2**64 - 1) -> Audit:
    told = Audit(redis, "node", conf)
    told.opened(connection_id, address="127.0.0.1", user_agent="agent\x00" + "x" * 600, is_authenticated=True)
    told.authenticated(connection_id, user_id=user_id, way="header")
    told.closed(connection_id, code=4403, frames_in=1, frames_out=2, bytes_in=3, bytes_out=4)
    await told.stop()
    return told


async def test_each_connection_is_one_row(redis: Redis, conf: RealtimeConf) -> None:
    await a_life(redis, conf)
    await database_sink(await entries(redis))
    row = await record("c1")
    assert (row.node, row.user_id, row.way, row.address) == ("node", 2**64 - 1, "header", "127.0.0.1")
    assert (row.frames_in, row.frames_out, row.bytes_in, row.bytes_out) == (1, 2, 3, 4)
    assert (row.close_code, row.close_meaning) == (4403, "closed by an administrator, or origin refused")
    assert row.user_agent == "agent" + "x" * 507
    assert row.opened_at <= row.authenticated_at <= row.closed_at  # type: ignore[operator]  # both are set


async def test_batches_may_be_split_and_repeated(redis: Redis, conf: RealtimeConf) -> None:
    await a_life(redis, conf)
    [opened, authenticated, closed] = await entries(redis)
    for batch in ([opened], [opened, authenticated], [authenticated, closed], [opened, authenticated, closed]):
        await database_sink(batch)
    assert await ConnectionRecord.objects.acount() == 1
    assert (await record("c1")).close_code == 4403


async def test_close_without_its_opening_is_a_row(redis: Redis, conf: RealtimeConf) -> None:
    await a_life(redis, conf)
    await database_sink((await entries(redis))[2:])
    assert (await record("c1")).close_code == 4403


async def test_unavailable_database_is_retried(redis: Redis, conf: RealtimeConf) -> None:
    await a_life(redis, conf)
    batch = await entries(redis)

    def rename(old: str, new: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")

    await sync_to_async(rename)("realtime_connectionrecord", "elsewhere")
    try:
        with pytest.raises(DatabaseUnavailable, match="database"):
            await database_sink(batch)
    finally:
        await sync_to_async(rename)("elsewhere", "realtime_connectionrecord")
    await database_sink(batch)
    assert (await record("c1")).close_code == 4403


@pytest.mark.parametrize("fields", [{}, {b"event": b""}, {b"event": b"\xc1"}, {b"event": b"\x80"}])
def test_unreadable_event_is_poison(fields: dict[bytes, bytes]) -> None:
    with pytest.raises(PoisonEntry, match="event"):
        parse("1-0", fields)


async def test_stream_is_bounded_in_bytes(redis: Any, conf: RealtimeConf) -> None:
    told = Audit(redis, new_node_name(), replace(conf, audit_bytes=1_000_000, audit_unauthenticated_per_minute=0))
    for _ in range(2_000):
        told.opened(new_connection_id(), address="f" * 45, user_agent="\xff" * MAX_USER_AGENT, is_authenticated=False)
    await told.stop()
    assert 500_000 < await redis.memory_usage(keys.audit_stream(), samples=0) <= 1_000_000


def recording(redis: Any, conf: RealtimeConf, number: int) -> Audit:
    """Return an audit at its limit of unauthenticated connections, with so many over it: c1, c2, …"""
    told = Audit(redis, "node", replace(conf, audit_unauthenticated_per_minute=1 / 60))
    for name in ["within", *(f"c{one}" for one in range(1, number + 1))]:
        told.opened(name, address="127.0.0.1", user_agent="agent", is_authenticated=False)
    return told


async def test_unauthenticated_connections_over_the_limit_are_not_recorded(redis: Any, conf: RealtimeConf) -> None:
    before = dropped("unauthenticated")
    told = recording(redis, conf, 3)
    told.opened("known", address="127.0.0.1", user_agent="agent", is_authenticated=True)
    told.authenticated("known", user_id=7, way="query")
    for name in ("within", "c1", "c2", "c3"):
        told.closed(name, code=4401, frames_in=0, frames_out=1, bytes_in=0, bytes_out=9)
    await told.stop()
    assert [event.connection_id for event in await entries(redis)] == ["within", "known", "known", "within"]
    assert dropped("unauthenticated") == before + 3


async def test_connection_over_the_limit_is_recorded_once_it_authenticates(redis: Any, conf: RealtimeConf) -> None:
    told = recording(redis, conf, 1)
    told.authenticated("c1", user_id=7, way="frame")
    told.closed("c1", code=1000, frames_in=0, frames_out=1, bytes_in=0, bytes_out=9)
    await told.stop()
    kinds = [type(event).__name__ for event in await entries(redis) if event.connection_id == "c1"]
    assert kinds == ["Opened", "Authenticated", "Closed"]


async def test_connections_of_one_user_are_recorded_at_a_limited_rate(redis: Any, conf: RealtimeConf) -> None:
    before = dropped("user")
    told = Audit(redis, "node", conf)
    for number in range(USER_BURST + 50):
        for user in (7, 8) if number < 3 else (7,):
            name = f"c{user}-{number}"
            told.opened(name, address="127.0.0.1", user_agent="agent", is_authenticated=True)
            told.authenticated(name, user_id=user, way="query")
            told.closed(name, code=1000, frames_in=0, frames_out=1, bytes_in=0, bytes_out=9)
    await told.stop()
    opened = [event.connection_id for event in await entries(redis) if isinstance(event, Opened)]
    assert len([name for name in opened if name.startswith("c8")]) == 3
    recorded = len([name for name in opened if name.startswith("c7")])
    assert recorded <= USER_BURST + 1, "one more after two minutes"
    assert dropped("user") == before + USER_BURST + 50 - recorded
    assert len(await entries(redis)) == 3 * len(opened)


async def test_events_dropped_for_want_of_room_are_counted(
    redis: Redis, conf: RealtimeConf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recorder, "MAX_WAITING", 10)
    before = dropped("waiting")
    told = Audit(redis, "node", conf)
    for number in range(15):
        told.opened(f"c{number}", address="", user_agent="", is_authenticated=False)
    assert dropped("waiting") == before + 5
    assert len(caplog.records) == 1


def dropped(reason: str) -> float:
    return metrics.audit_dropped.labels(reason)._value.get()  # type: ignore[no-any-return]  # it has no types


async def test_records_of_a_dead_gateway_close_after_the_lease(redis: Redis, conf: RealtimeConf) -> None:
    told = Audit(redis, "gone", conf)
    told.opened("c1", address="", user_agent="", is_authenticated=False)
    await told.stop()
    await database_sink(await entries(redis))
    reaper = Reaper(redis, replace(conf, presence_lease=0.2))
    assert await reaper.reap() == 0
    assert await until_answer(reaper.reap, what="it is closed") == 1
    assert (await record("c1")).close_code == 1006


async def test_records_of_a_gateway_that_lives_after_all_open_again(redis: Redis, conf: RealtimeConf) -> None:
    """A paused gateway is taken for dead; when it goes on, one of its two connections ends at once."""
    told = Audit(redis, "paused", conf)
    for name in ("c1", "c2"):
        told.opened(name, address="", user_agent="", is_authenticated=False)
    await told.stop()
    await database_sink(await entries(redis))
    reaper = Reaper(redis, replace(conf, presence_lease=0.2))
    assert await until_answer(reaper.reap, what="they are closed") == 2
    told.closed("c2", code=1006, frames_in=1, frames_out=2, bytes_in=3, bytes_out=4)
    await told.stop()
    await database_sink(await entries(redis))
    now, _ = await redis.time()
    await redis.zadd(keys.nodes(), {"paused": now + 60})
    await redis.hset(keys.node_connections("paused"), mapping={"c1": "1", "c2": "1"})
    assert await reaper.reap() == 0
    assert ((await record("c1")).closed_at, (await record("c1")).close_code) == (None, None)
    assert (await record("c2")).close_code == 1006
    await reaper.reap()
    assert list(await redis.hgetall(keys.reaper())) == [b"at"]


async def test_gateways_that_never_come_back_are_forgotten(
    redis: Redis, conf: RealtimeConf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaper_module, "REMEMBERED_SECONDS", 0)
    await test_records_of_a_dead_gateway_close_after_the_lease(redis, conf)
    assert len(await redis.hgetall(keys.reaper())) == 2
    await Reaper(redis, conf).reap()
    assert list(await redis.hgetall(keys.reaper())) == [b"at"]


@pytest.mark.parametrize("kind", ["OOM", "LOADING"])
async def test_living_gateway_is_not_reaped_after_a_refusal(
    redis: Redis, redis_server: RedisServer, conf: RealtimeConf, kind: str
) -> None:
    """While Redis refuses writes no gateway can renew its lease, so a lease that is over says nothing."""
    told = Audit(redis, "alive", conf)
    told.opened("c1", address="", user_agent="", is_authenticated=False)
    await told.stop()
    await database_sink(await entries(redis))
    async with ErrorProxy(redis_server.port) as proxy:
        client = connect(proxy.url)
        reaper = Reaper(client, replace(conf, presence_lease=0))
        proxy.answer_kind(kind)
        with pytest.raises(RedisRefused):
            await reaper.reap()
        assert (await record("c1")).closed_at is None
        await client.aclose()


@pytest.mark.parametrize("kind", ELEVEN)
async def test_events_wait_out_every_refusal(
    redis: Redis, redis_server: RedisServer, conf: RealtimeConf, kind: str
) -> None:
    async with ErrorProxy(redis_server.port) as proxy:
        client = connect(proxy.url)
        audit = Audit(client, "node", conf)
        proxy.answer_kind(kind)
        async with tasks.Group() as group:
            group.supervise(audit.run, "audit")
            audit.opened("c1", address="", user_agent="", is_authenticated=False)
            await until_news(proxy.news, lambda: proxy.refused, "the event is refused")
            audit.closed("c1", code=1000, frames_in=0, frames_out=0, bytes_in=0, bytes_out=0)
            proxy.restore()
            await until_answer(lambda: redis.xlen(keys.audit_stream()), lambda length: length == 2, "both are written")
        await client.aclose()


async def test_audit_that_failed_writes_what_waits(
    redis: Redis, conf: RealtimeConf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure of any kind restarts the task; no other event has to come for the rest to be written."""
    monkeypatch.setattr(tasks, "FIRST_WAIT", 0.01)
    audit = Audit(redis, "node", conf)
    flush, failures = audit._flush, [AttributeError("'NoneType' object has no attribute 'writelines'")]

    async def failing() -> None:
        if failures:
            raise failures.pop()
        await flush()

    monkeypatch.setattr(audit, "_flush", failing)
    async with tasks.Group() as group:
        group.supervise(audit.run, "audit")
        audit.opened("c1", address="", user_agent="", is_authenticated=False)
        await until_answer(lambda: redis.xlen(keys.audit_stream()), lambda length: length == 1, "it is written")
