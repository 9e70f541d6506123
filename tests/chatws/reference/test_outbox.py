"""The outbox over two instances of the service that crash at any moment: every event, in order in each group."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from realtime.redis import connect
from tests.support.chat import Chat, new_user
from tests.support.redis import free_port
from tests.support.stack import Process, Stack


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    stack = Stack(tmp_path)
    try:
        stack.redis.start()
        stack.manage("migrate", "--verbosity", "0")
        yield stack
    finally:
        stack.stop()


async def first_seen(stack: Stack, count: int) -> dict[str, list[str]]:
    """Message ids by group, each where it first stands in the stream, once there are ``count`` of them."""
    redis: Any = connect(stack.redis.url)
    async with asyncio.timeout(20):
        while True:
            seen: dict[str, list[str]] = {}
            for _, fields in await redis.xrange("chat.message.new"):
                payload = json.loads(fields[b"payload"])
                ids = seen.setdefault(payload["group_id"], [])
                if payload["message_id"] not in ids:
                    ids.append(payload["message_id"])
            if sum(map(len, seen.values())) >= count:
                await redis.aclose()
                return seen
            await asyncio.sleep(0.05)


async def test_every_event_is_published_in_order_although_the_service_is_killed(stack: Stack) -> None:
    user = new_user()
    first = stack.start_rpc()
    chat = Chat(stack.rpc_target)
    groups = [await chat.group(user) for _ in range(3)]
    second_port = free_port()
    stack.rpc_port, stack.rpc_target = second_port, f"127.0.0.1:{second_port}"
    stack.env["CHATWS_RPC_PORT"] = str(second_port)
    stack.start_rpc()
    other = Chat(stack.rpc_target)

    sent: dict[str, list[str]] = {group: [] for group in groups}
    for number in range(60):
        group = groups[number % 3]
        message_id = f"{group}-{number}"
        if number == 30:
            first.kill()
        speaker = chat if number < 30 and number % 2 else other
        await speaker.say(group, user, str(number), message_id)
        sent[group].append(message_id)
    assert await first_seen(stack, 60) == sent
    await chat.close()
    await other.close()


async def test_what_was_committed_while_redis_was_away_is_published_later(stack: Stack) -> None:
    user = new_user()
    service: Process = stack.start_rpc()
    chat = Chat(stack.rpc_target)
    group = await chat.group(user)
    stack.redis.kill()
    for number in range(5):
        await chat.say(group, user, str(number), f"{group}-{number}")
    stack.redis.start()
    assert await first_seen(stack, 5) == {group: [f"{group}-{number}" for number in range(5)]}
    assert await asyncio.to_thread(service.stop) == 0
    await chat.close()
