"""Run every example of the AsyncAPI document: send it literally, or cause it and receive it literally."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chatws.protocol.examples import GROUP, OTHER, USER
from chatws.web.asyncapi.document import REPLIES
from chatws.web.asyncapi.examples import EVENTS, FROM_CLIENT, FROM_SERVER
from tests.contract.test_heartbeats import until_online
from tests.support.client import Client, Frame, connect, make_token
from tests.support.stack import Gateway, Stack
from tests.support.waiting import LIMIT
from tests.support.world import make_world

PASSING = {"timestamp", "epoch", "connection_id", "expires_at", "last_seen", "retry_after"}
"""The fields whose values differ between runs."""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[tuple[Stack, Gateway]]:
    stack = Stack(tmp_path)
    try:
        gateway = await asyncio.to_thread(stack.start)
        make_world(stack)
        yield stack, gateway
    finally:
        stack.stop()


def lasting(value: Any) -> Any:
    """Return a frame without varying fields and with lists of users in one order."""
    if isinstance(value, dict):
        return {name: None if name in PASSING else lasting(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return sorted(map(lasting, value), key=lambda one: one.get("user_id", 0) if isinstance(one, dict) else 0)
    return value


async def say(client: Client, kind: str, **changes: Any) -> None:
    """Send an example with only unpredictable data replaced; its answer must be a documented one."""
    example = FROM_CLIENT[kind]
    await client.raw(json.dumps({**example, "data": {**example["data"], **changes}}))
    if kind != "typing":
        assert (await client.answer(example["message_id"]))["type"] in REPLIES[kind]


async def test_every_example_frame_occurs(world: tuple[Stack, Gateway]) -> None:
    stack, gateway = world
    user, other, stranger = [await connect(gateway.ws) for _ in range(3)]
    await say(user, "auth", token=make_token(USER))
    await say(other, "auth", token=make_token(OTHER))
    await say(stranger, "auth", token="nonsense")
    for user_id in (USER, OTHER):
        await until_online(gateway.http, user_id, True)

    for topic, frame in (
        ("chat.message.new", "new_message"),
        ("notification:push", "notification"),
        ("verify:progress", "verify_progress"),
    ):
        stack.add_entry(topic, EVENTS[topic])
        await user.expect(frame)  # topics have no common order, so only then the next offset belongs to the next entry
    for kind in ("ping", "send_message", "presence", "history", "leave_group", "join_group"):
        await say(user, kind)
    await say(user, "mark_read")
    await say(user, "join_group", group_id="g9")
    await say(other, "typing")
    await user.expect("typing")
    await user.expect("message_read")

    stack.add_entry("chat.group.member.added", EVENTS["chat.group.member.added"])
    await other.expect("membership")
    await user.expect("group_member")
    stack.add_entry("chat.group.member.removed", EVENTS["chat.group.member.removed"])
    await user.expect("group_member", lambda frame: frame["data"]["change"] == "removed")
    await other.expect("group_joined")  # the lookup finds no change
    stack.lose_log(f"group:{GROUP}")
    await user.expect("feed_reset")
    await asyncio.to_thread(gateway.stop, seconds=LIMIT)
    for client in (user, other):
        assert await client.closed() == 4501

    seen: list[Frame] = [lasting(frame) for client in (user, other, stranger) for frame in client.seen]
    missing = {kind: example for kind, example in FROM_SERVER.items() if lasting(example) not in seen}
    same_kind = [frame for frame in seen if frame["type"] in missing]
    assert not missing, json.dumps({"missing": missing, "seen instead": same_kind}, indent=1, ensure_ascii=False)
    assert {frame["type"] for frame in seen} == set(FROM_SERVER)
