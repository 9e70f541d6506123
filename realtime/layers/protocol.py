"""What the project uses of a channel layer."""

from collections.abc import Sequence
from typing import Any, Protocol


class Layer(Protocol):
    """What the project uses of a channel layer; any Channels layer with groups has it."""

    async def new_channel(self) -> str: ...
    async def receive(self, channel: str) -> dict[str, Any]: ...
    async def group_add(self, group: str, channel: str) -> None: ...
    async def group_discard(self, group: str, channel: str) -> None: ...
    async def group_send(self, group: str, message: dict[str, Any]) -> None: ...


async def send_all(layer: Layer, messages: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Send ``(group, message)`` in order, with our layer some hundreds in a round trip; raises what it raises."""
    at_once = getattr(layer, "group_send_all", None)
    if at_once is not None:
        await at_once(messages)
        return
    for group, message in messages:
        await layer.group_send(group, message)
