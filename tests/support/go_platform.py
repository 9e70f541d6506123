"""Use the twin of the Go platform as its services and clients do: groups, events, logins, messages."""

import itertools
import json
from typing import Any

import redis as redis_py

from chatws.chat_service.pb import chat_pb2 as pb
from realtime.relay.watermill import encode
from tests.support.client import Client, connect, make_token
from tests.support.platform_stack import PlatformStack
from tests.support.stack import Gateway, Process, Stack

activities = itertools.count(1)
"""Unused ids of activities: a group belongs to exactly one."""


async def group_of(stub: Any, owner: int, *members: int) -> str:
    request = pb.CreateGroupReq(activity_id=next(activities), name="Chess", owner_id=owner)
    group_id: str = (await stub.CreateGroup(request)).group_id
    for member in members:
        await stub.AddGroupMember(pb.AddGroupMemberReq(group_id=group_id, user_id=member))
    return group_id


def happens(stack: Stack, topic: str, **event: object) -> None:
    """Publish an event, as another service of the platform does."""
    fields: Any = encode(json.dumps(event).encode(), {"topic": topic})
    with redis_py.Redis.from_url(stack.redis.url) as redis:
        redis.xadd(topic, fields)


async def enter(gateway: Gateway, user: int) -> Client:
    """Log in with a token like the platform's, with a number, a role and no name."""
    client = await connect(gateway.ws)
    answer = await client.ask("auth", {"token": make_token(user, 600, role="user")})
    assert answer["type"] == "auth_success", answer
    return client


def serving(platform: PlatformStack) -> Process:
    """Return the twin that was started last."""
    return [process for process in platform.processes if process.kind == "rpc"][-1]


def text(group: str, content: str = "hello") -> dict[str, object]:
    return {"group_id": group, "msg_type": 1, "content": content}


async def history(stub: Any, group: str) -> list[str]:
    answer = await stub.GetMessageHistory(pb.GetMessageHistoryReq(group_id=group, limit=100))
    return [message.message_id for message in answer.messages]
