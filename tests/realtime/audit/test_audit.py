"""Check the audit from stream to database: in bulk, repeatable, and retried while the database is unavailable."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from realtime.audit.events import Event, parse
from realtime.audit.reaper import Reaper
from realtime.audit.recorder import Audit
from realtime.audit.sink import database_sink
from realtime.conf import RealtimeConf
from realtime.exceptions import DatabaseUnavailable, PoisonEntry
from realtime.models import ConnectionRecord
from realtime.redis.keys import AUDIT_STREAM
from tests.support.redis import Redis
from tests.support.waiting import until_answer

pytestmark = pytest.mark.django_db(transaction=True)


async def entries(redis: Any) -> Sequence[Event]:
    return [
        event for entry_id, fields in await redis.xrange(AUDIT_STREAM) for event in parse(entry_id.decode(), fields)
    ]


async def record(connection_id: str) -> ConnectionRecord:
    return await ConnectionRecord.objects.aget(connection_id=connection_id)


async def a_life(redis: Redis, conf: RealtimeConf, connection_id: str = "c1", user_id: int = 2**64 - 1) -> Audit:
    told = Audit(redis, "node", conf)
    told.opened(connection_id, address="127.0.0.1", user_agent="agent\x00" + "x" * 600)
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


async def test_stream_is_bounded(redis: Any, conf: RealtimeConf) -> None:
    told = Audit(redis, "node", replace(conf, audit_entries=100))
    for number in range(2_000):
        told.opened(f"c{number}", address="", user_agent="")
    await told.stop()
    assert await redis.xlen(AUDIT_STREAM) < 400


async def test_records_of_a_dead_gateway_close_after_the_lease(redis: Redis, conf: RealtimeConf) -> None:
    told = Audit(redis, "gone", conf)
    told.opened("c1", address="", user_agent="")
    await told.stop()
    await database_sink(await entries(redis))
    reaper = Reaper(redis, replace(conf, presence_lease=0.2))
    assert await reaper.reap() == 0
    assert await until_answer(reaper.reap, what="it is closed") == 1
    assert (await record("c1")).close_code == 1006
