"""Waits for the events of making a chat group: they are relayed when they are, and take offsets in its feed."""

from typing import Any

from realtime.redis.client import connect
from tests.support.stack import PlatformStack, RealStack, Stack
from tests.support.waiting import until_answer


async def announced(stack: Stack, group: str, members: int) -> str:
    """Return the group once its feed holds that each of so many members was added.

    Only then do messages follow on one another, and is nobody asked about because of an event that comes late.
    """
    if isinstance(stack, PlatformStack | RealStack):
        return group  # nothing is told of it
    redis: Any = connect(stack.redis.url)
    try:
        feed = f"chatws:{{group:{group}}}:meta"
        await until_answer(
            lambda: redis.hget(feed, "offset"),
            lambda offset: int(offset or 0) >= members,
            f"{members} added to {group}",
        )
    finally:
        await redis.aclose()
    return group
