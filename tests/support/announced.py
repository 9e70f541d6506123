"""Wait until the events of a new chat group are in its feed: they arrive late and take offsets there."""

from typing import Any

from realtime.redis.client import connect
from tests.support.platform_stack import PlatformStack, RealStack
from tests.support.stack import Stack
from tests.support.waiting import until_answer


async def announced(stack: Stack, group: str, members: int) -> str:
    """Return the group once its feed holds that each of so many members was added.

    After that messages have consecutive offsets, and no late event makes a gateway refresh a membership.
    """
    if isinstance(stack, PlatformStack | RealStack):
        return group  # no event is published for it
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
