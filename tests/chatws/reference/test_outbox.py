"""Check the outbox with two instances that crash at any moment: no event is lost, each group's order holds."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from chatws.reference import outbox
from chatws.reference.outbox import OutboxPublisher
from realtime.aio.backoff import Backoff
from realtime.redis.client import connect
from tests.support.chat import Chat, new_user
from tests.support.postgres import PostgresServer
from tests.support.redis import free_port
from tests.support.stack import Process, Stack
from tests.support.waiting import LIMIT, until_answer


@pytest.fixture(params=["sqlite", "postgresql"])
async def stack(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    environment: dict[str, str] = {}
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        environment["DATABASE_URL"] = server.fresh_database()
    stack = Stack(tmp_path, **environment)
    try:
        stack.redis.start()
        stack.migrate()
        yield stack
    finally:
        stack.stop()


async def first_seen(stack: Stack, count: int) -> dict[str, list[str]]:
    """Return message ids by group in the order of their first entry, once there are ``count`` of them."""
    redis: Any = connect(stack.redis.url)

    async def look() -> dict[str, list[str]]:
        seen: dict[str, dict[str, None]] = {}
        for _, fields in await redis.xrange("chat.message.new"):
            payload = json.loads(fields[b"payload"])
            seen.setdefault(payload["group_id"], {})[payload["message_id"]] = None
        return {group: list(ids) for group, ids in seen.items()}

    try:
        return await until_answer(look, lambda seen: sum(map(len, seen.values())) >= count, f"{count} messages")
    finally:
        await redis.aclose()


async def test_killed_services_still_publish_events_in_order(stack: Stack) -> None:
    """Kill two instances in turn, at any point between commit and publishing, under concurrent load."""
    user, rng = new_user(), random.Random(5)
    ports = [stack.rpc_port, free_port()]
    services: list[Process] = []
    for port in ports:
        stack.listen_for_rpc(port)
        services.append(stack.start_rpc())
    chat = Chat("ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports))
    groups = [await until_done(chat.group, user) for _ in range(3)]
    over = asyncio.Event()
    sent: dict[str, list[str]] = {group: [] for group in groups}

    async def write(group: str) -> None:
        number = 0
        while not over.is_set() or number <= 10:
            number += 1
            message_id = f"{group}-{number}"
            await until_done(chat.say, group, user, str(number), message_id)
            sent[group].append(message_id)

    writing = [asyncio.create_task(write(group)) for group in groups]
    for turn in range(4):
        await asyncio.sleep(rng.uniform(0.1, 0.6))
        services[turn % 2].kill()
        stack.listen_for_rpc(ports[turn % 2])
        services[turn % 2] = await asyncio.to_thread(stack.start_rpc)
    over.set()
    await asyncio.gather(*writing)
    assert min(len(ids) for ids in sent.values()) > 10
    assert await first_seen(stack, sum(map(len, sent.values()))) == sent
    await chat.close()


async def until_done(work: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
    """Retry a call, as a client of a dying service does."""
    while True:
        try:
            return await work(*arguments)
        except grpc.aio.AioRpcError:
            await asyncio.sleep(0.02)


async def test_outbox_retries_each_second_during_a_long_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    redis: Any = connect(f"redis://127.0.0.1:{free_port()}/0")
    waits: list[float] = []

    async def sleep(backoff: Backoff) -> None:
        waits.append(backoff.take())
        if len(waits) == 10:
            raise asyncio.CancelledError

    monkeypatch.setattr(Backoff, "sleep", sleep)
    monkeypatch.setattr(outbox, "POLL_SECONDS", 0.125)
    with pytest.raises(asyncio.CancelledError):
        await OutboxPublisher(redis).run()
    assert max(waits) <= 1.0
    await redis.aclose()


async def test_event_committed_without_redis_is_published_later(stack: Stack) -> None:
    user = new_user()
    service: Process = stack.start_rpc()
    chat = Chat(stack.rpc_target)
    group = await chat.group(user)
    stack.redis.kill()
    for number in range(5):
        await chat.say(group, user, str(number), f"{group}-{number}")
    stack.redis.start()
    assert await first_seen(stack, 5) == {group: [f"{group}-{number}" for number in range(5)]}
    assert await asyncio.to_thread(service.stop, seconds=LIMIT) == 0
    await chat.close()
