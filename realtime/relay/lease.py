"""The lease of a topic: it decides which relay works on the topic.

It only saves work and is not needed for correctness: two relays that both believe to hold it append the same sequence.
"""

from collections.abc import Mapping, Sequence

from realtime.redis import keys
from realtime.redis.client import Redis
from realtime.redis.scripts import Script

_relay_acquire = Script("relay_acquire")
_relay_release = Script("relay_release")
_relay_announce = Script("relay_announce")
_topic_publish = Script("topic_publish")


class Lease:
    """One worker's lease on one topic. A later holder gets a greater token."""

    def __init__(self, redis: Redis, topic: str, seconds: float, holder: str) -> None:
        self._redis = redis
        self._keys = [keys.lease(topic), keys.lease_token(topic), keys.cursor(topic)]
        self._relays_key = keys.relays(topic)
        self._holder = holder
        self._seconds = seconds

    async def take(self) -> int:
        """Acquire or renew the lease; return its token, or 0 while another worker holds it."""
        return int(await _relay_acquire.run(self._redis, self._keys, [self._holder, int(self._seconds * 1000)]))

    async def publish(self, entries: Sequence[tuple[str, Mapping[bytes, bytes]]]) -> bool:
        """Write entries to their streams in order, all or none; False if this worker lost the lease."""
        streams = list(dict.fromkeys(stream for stream, _ in entries))
        args: list[str | bytes | int] = [self._holder]
        for stream, fields in entries:
            args += [streams.index(stream) + 2, 2 * len(fields)]
            args += [part for field in fields.items() for part in field]
        return bool(await _topic_publish.run(self._redis, [self._keys[0], *streams], args))

    async def give_back(self) -> None:
        """Release the lease, so that another worker can acquire it at once."""
        await _relay_release.run(self._redis, self._keys[:1], [self._holder])

    async def announce(self) -> list[str]:
        """Register this worker for the topic for the length of a lease; return all registered names, sorted."""
        names = await _relay_announce.run(self._redis, [self._relays_key], [self._holder, self._seconds])
        return sorted(name.decode() for name in names)

    async def sign_out(self) -> None:
        """Remove this worker from the topic's registered workers."""
        await self._redis.zrem(self._relays_key, self._holder)
