"""What the project uses of a channel layer."""

from collections.abc import Sequence
from typing import Any, Protocol

from realtime.redis.errors import translated


class Layer(Protocol):
    """What the project uses of a channel layer; any Channels layer with groups has it."""

    async def new_channel(self) -> str: ...
    async def receive(self, channel: str) -> dict[str, Any]: ...
    async def group_add(self, group: str, channel: str) -> None: ...
    async def group_discard(self, group: str, channel: str) -> None: ...
    async def group_send(self, group: str, message: dict[str, Any]) -> None: ...


async def send(layer: Layer, group: str, message: dict[str, Any]) -> None:
    """Send one message; raises `RedisUnavailable` with any layer over Redis."""
    with translated():
        await layer.group_send(group, message)


async def send_all(layer: Layer, messages: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Send ``(group, message)`` in order, with our layer some hundreds in a round trip.

    Raises:
        RedisUnavailable: with any layer over Redis. Some of the messages may have been sent.
    """
    at_once = getattr(layer, "group_send_all", None)
    with translated():
        if at_once is not None:
            await at_once(messages)
            return
        for group, message in messages:
            await layer.group_send(group, message)
