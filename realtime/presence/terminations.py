"""Termination requests: connections that the gateway holding them has to close.

A request is stored in Redis until it is carried out, so that a lost notification only delays it.
"""

from collections.abc import Iterable, Mapping

from realtime.feeds.names import CONTROL_GROUP
from realtime.layers.protocol import Layer, send
from realtime.redis import keys
from realtime.redis.client import Redis

KEPT_SECONDS = 600


class Terminations:
    """The termination requests of all gateways."""

    def __init__(self, redis: Redis, layer: Layer) -> None:
        self._redis = redis
        self._layer = layer

    async def ask(self, connection_ids: Iterable[str], code: int) -> None:
        """Request that connections are closed with a code; raises what Redis raises."""
        requests = {connection_id: int(code) for connection_id in connection_ids}
        if not requests:
            return
        pipeline = self._redis.pipeline()
        pipeline.hset(keys.TERMINATIONS, mapping=requests)
        pipeline.expire(keys.TERMINATIONS, KEPT_SECONDS)
        await pipeline.execute()
        await send(self._layer, CONTROL_GROUP, {"type": "kick"})

    async def pending(self) -> Mapping[str, int]:
        """Return the requests: connection ids, each with its close code."""
        return {name.decode(): int(code) for name, code in (await self._redis.hgetall(keys.TERMINATIONS)).items()}

    async def done(self, connection_ids: Iterable[str]) -> None:
        """Delete the requests for connections that have been closed."""
        await self._redis.hdel(keys.TERMINATIONS, *connection_ids)
