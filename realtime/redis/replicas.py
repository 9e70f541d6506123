"""Wait until replicas have what was written, so that a failover loses nothing that was acknowledged."""

from realtime.exceptions import RedisRefused
from realtime.redis import keys
from realtime.redis.commands import Redis
from realtime.redis.pipeline import pipelined

SECONDS = 1.0


async def confirmed(redis: Redis, replicas: int) -> None:
    """Return once so many replicas have everything that Redis has written up to now; at once for 0.

    WAIT looks at the last write of its own connection, so there has to be one.

    Raises:
        RedisRefused: too few replicas confirmed within `SECONDS`. What was written may be lost by a failover.
    """
    if not replicas:
        return
    writing = ("SET", keys.replicated(), "", "EX", 60)
    _, reached = await pipelined(redis, [writing, ("WAIT", replicas, int(SECONDS * 1000))])
    if reached < replicas:
        problem = f"{reached} of {replicas} replicas confirmed a write within {SECONDS:g} s"
        raise RedisRefused(f"{problem} (CHATWS_REDIS_REPLICAS)")
