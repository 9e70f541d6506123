"""Inject failures into the twin."""

import json
from typing import Any

import grpc

CONTROL = "/twin.Control/Tell"


class Twin:
    """The tests' side of the twin."""

    def __init__(self, target: str) -> None:
        self._channel = grpc.aio.insecure_channel(target)

    async def tell(self, **what: object) -> None:
        """Inject failures. ``saves``, ``users``: the failure from now on, empty for none; ``people``: a list of
        ``[id, name, avatar]``; ``now``: the twin's time."""
        call: Any = self._channel.unary_unary(CONTROL)
        await call(json.dumps(what).encode(), wait_for_ready=True)

    async def close(self) -> None:
        await self._channel.close()
