"""Declare what the project uses of a channel layer, and send messages through one."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from realtime.redis.errors import translated


class Layer(Protocol):
    """The methods that the project uses; any Channels layer with groups has them."""

    async def new_channel(self) -> str: ...
    async def receive(self, channel: str) -> dict[str, Any]: ...
    async def group_add(self, group: str, channel: str) -> None: ...
    async def group_discard(self, group: str, channel: str) -> None: ...
    async def group_send(self, group: str, message: dict[str, Any]) -> None: ...


@runtime_checkable
class SupportsBatching(Protocol):
    """A layer that sends many messages in one round trip, as ours does."""

    async def group_send_all(self, messages: Sequence[tuple[str, dict[str, Any]]]) -> None: ...


async def send(layer: Layer, group: str, message: dict[str, Any]) -> None:
    """Send one message; raise `RedisUnavailable` with any layer over Redis."""
    with translated():
        await layer.group_send(group, message)


async def send_all(layer: Layer, messages: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Send each ``(group, message)`` in order, in one round trip if the layer supports it.

    Raises:
        RedisUnavailable: with any layer over Redis. Some of the messages may have been sent.
    """
    with translated():
        if isinstance(layer, SupportsBatching):
            await layer.group_send_all(messages)
            return
        for group, message in messages:
            await layer.group_send(group, message)
