"""Wishes to end connections: kept in Redis until carried out, so that a lost hint only delays them.

Asked by the admin, carried out by whichever gateway holds the connection.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from realtime.feeds.names import CONTROL_GROUP
from realtime.layers.protocol import Layer
from realtime.redis import keys
from realtime.redis.client import Redis

KEPT_SECONDS = 600


class Terminations:
    """The connections that somebody wants ended."""

    def __init__(self, redis: Redis, layer: Layer) -> None:
        self._redis: Any = redis  # redis-py's types give one signature for its two kinds of client
        self._layer = layer

    async def ask(self, connection_ids: Iterable[str], code: int) -> None:
        """Wish that connections be closed with a code; raises what Redis raises."""
        wishes = {connection_id: int(code) for connection_id in connection_ids}
        if not wishes:
            return
        pipeline = self._redis.pipeline()
        pipeline.hset(keys.TERMINATIONS, mapping=wishes)
        pipeline.expire(keys.TERMINATIONS, KEPT_SECONDS)
        await pipeline.execute()
        await self._layer.group_send(CONTROL_GROUP, {"type": "kick"})

    async def pending(self) -> Mapping[str, int]:
        """Connection ids, and the code to close each with."""
        return {name.decode(): int(code) for name, code in (await self._redis.hgetall(keys.TERMINATIONS)).items()}

    async def done(self, connection_ids: Iterable[str]) -> None:
        """These have been closed."""
        await self._redis.hdel(keys.TERMINATIONS, *connection_ids)
