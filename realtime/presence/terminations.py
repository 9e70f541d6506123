"""Termination requests: connections that the gateway holding them has to close.

The requests are a stream in Redis, bounded by count and age. Each gateway reads what came since it last read, so that a
lost notification only delays a request.
"""

from collections.abc import Iterable, Mapping

from realtime.feeds.names import CONTROL_GROUP
from realtime.layers.protocol import Layer, send
from realtime.redis import keys
from realtime.redis.client import Redis
from realtime.redis.pipeline import pipelined

KEPT_SECONDS = 600
"""How long the stream is kept after its last request."""
MAX_REQUESTS = 50_000
"""Most requests that the stream holds, of about 50 bytes each. The oldest are dropped."""
MAX_ID = 64
"""Longest id of a connection, in characters. A longer one is nobody's, and is left out."""
AT_ONCE = 1_000
BEGINNING = "0-0"


class Terminations:
    """The termination requests of all gateways, and how far this process has read them."""

    def __init__(self, redis: Redis, layer: Layer) -> None:
        self._redis = redis
        self._layer = layer
        self._read_up_to = BEGINNING

    async def ask(self, connection_ids: Iterable[str], code: int) -> None:
        """Request that connections are closed with a code; raises what Redis raises."""
        adding = ("XADD", keys.terminations(), "MAXLEN", "~", MAX_REQUESTS, "*")
        requests = [(*adding, name, int(code)) for name in connection_ids if 0 < len(name) <= MAX_ID]
        if not requests:
            return
        for first in range(0, len(requests), AT_ONCE):
            await pipelined(self._redis, requests[first : first + AT_ONCE])
        await pipelined(self._redis, [("EXPIRE", keys.terminations(), KEPT_SECONDS)])
        await send(self._layer, CONTROL_GROUP, {"type": "kick"})

    async def news(self) -> Mapping[str, int]:
        """Return the requests since the last call, `AT_ONCE` at most: connection ids, each with its close code.

        A request may be returned again after Redis lost data. Raises what Redis raises.
        """
        found = await self._redis.xrange(keys.terminations(), min=f"({self._read_up_to}", count=AT_ONCE)
        if found:
            self._read_up_to = found[-1][0].decode()
            return {name.decode(): int(code) for _, fields in found for name, code in fields.items()}
        newest = await self._redis.xrevrange(keys.terminations(), count=1)
        if newest and _order(newest[0][0]) < _order(self._read_up_to.encode()):
            self._read_up_to = BEGINNING  # Redis lost data, and its clock is behind the one before
            return await self.news()
        return {}


def _order(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition(b"-")
    return int(milliseconds), int(sequence)
